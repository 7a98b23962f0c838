import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.control import grids

from aigrid.control import route
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.core.events import Heartbeat, ServiceDeployed, SiteJoined, Tick
from aigrid.core.site import Site
from aigrid.core.state import NO_VERSION, UP, GridState


def states(seed: int, sites: int, services: int) -> GridState:
    """A grid in a random state."""
    rng = np.random.default_rng(seed)
    state = GridState()
    for number in range(sites):
        parent = f"s{rng.integers(0, number)}" if number and rng.random() < 0.9 else ""
        kind = ("factory", "hub", "tower")[min(number, 2)]
        state.put_site(Site(f"s{number}", kind, "r", compute_cores=1.0, parent=parent))
    for number in range(services):
        state.put_service(f"m{number}")
    state.services.wanted[:services] = rng.random(services) < 0.8
    state.sites.status[:sites] = rng.integers(0, 4, sites)
    state.sites.share[:sites] = rng.choice([0.0, 0.3, 1.0], sites)
    state.replicas.serving[:sites, :services] = rng.integers(-1, 2, (sites, services))
    state.replicas.running[:sites, :services] = rng.integers(0, 50, (sites, services))
    return state


@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 3), st.integers(1, 9))
def test_weights_sum_to_one_or_nothing_and_only_those_that_serve_have_any(
    seed, sites, services, width
):
    state = states(seed, sites, services)
    table = route.table(Policy(), state, route.ways(state, width), route.RoutingTable())
    sums = table.weight.sum(axis=2)
    assert np.all(np.isclose(sums, 1.0, atol=1e-5) | (sums == 0.0))
    for o, m, k in np.argwhere(table.weight > 0).tolist():
        row = table.candidate[o, m, k]
        assert row >= 0
        assert state.sites.status[row] == UP
        assert state.sites.share[row] > 0
        assert state.replicas.serving[row, m] != NO_VERSION
        assert state.services.wanted[m]
    for m, service in enumerate(table.services):
        for origin in table.origins:
            assert bool(table.candidates(origin, service)) == bool(sums[:, m].any())


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 9))
def test_an_origin_comes_first_among_its_candidates_and_nobody_twice(seed, sites, width):
    state = states(seed, sites, 1)
    reach = route.candidates(state, width)
    assert reach.shape == (sites + 1, width)
    for row in range(sites):
        assert reach[row + 1, 0] == row
    for line in reach:
        named = line[line >= 0]
        assert len(set(named.tolist())) == len(named)
        assert np.all(line[len(named) :] == -1)


def test_a_root_leaves_what_it_cannot_serve_to_those_below_it():
    orchestrator = grids.grid(("h", "t1", "t2"))
    reach = route.candidates(orchestrator.state, 4)
    names = orchestrator.state.site_names
    row = names.index("h")
    assert {names[at] for at in reach[row + 1] if at >= 0} == {"h", "t1", "t2"}


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 9))
def test_a_service_with_rules_has_candidates_where_it_may_run_and_only_there(seed, sites, width):
    state = states(seed, sites, 2)
    region = int(state.sites.region[seed % sites])
    state.services.regions[1] = (region,)
    anywhere, ruled = route.ways(state, width).reach
    allowed = np.flatnonzero(state.sites.region[:sites] == region)
    for line, free in zip(ruled, anywhere, strict=True):
        named = line[line >= 0].tolist()
        assert len(set(named)) == len(named) == min(width, len(allowed))
        assert set(named) <= set(allowed.tolist())
        # Those that may keep their order, and come before the others.
        kept = [row for row in free.tolist() if row in allowed]
        assert named[: len(kept)] == kept


def test_an_origin_whose_candidates_are_all_down_is_served_by_others():
    names, weight = ("a", "b", "c"), np.zeros((4, 1, 1), np.float32)
    candidate = np.array([[[0]], [[0]], [[1]], [[2]]], np.int32)
    weight[3, 0, 0] = 1.0
    table = route.RoutingTable(("*", *names), ("m",), names, candidate, weight)
    assert table.candidates("a", "m") == table.candidates("*", "m") == [("c", 1.0)]
    assert table.candidates("c", "m") == [("c", 1.0)]
    weight[0, 0, 0] = 1.0
    assert table.candidates("b", "m") == [("a", 1.0)]


def test_siblings_take_turns_so_that_neighbours_do_not_share_one_favourite():
    orchestrator = grids.grid(("f", "h", "t1", "t2", "t3"))
    reach = route.candidates(orchestrator.state, 3)
    names = orchestrator.state.site_names
    seconds = {names[row]: names[reach[row + 1, 1]] for row in (2, 3, 4)}
    assert seconds == {"t1": "t2", "t2": "t3", "t3": "t1"}


def loaded(orchestrator: Orchestrator, now_s: float, jobs: dict[str, int]) -> None:
    for name, running in jobs.items():
        orchestrator.handle(now_s, Heartbeat(name, replicas=(grids.ready(running=running),)))


def test_after_a_step_of_load_weights_settle_without_swinging():
    """Herding: load follows weights, weights follow load; the two must not chase each other."""
    orchestrator = grids.grid(("f", "h"))
    shift, weights = 0.9, []
    for step in range(60):
        jobs = round(80 * shift)
        loaded(orchestrator, 2.0 + step, {"f": jobs, "h": 80 - jobs})
        orchestrator.handle(2.0 + step, Tick())
        shift = dict(orchestrator.routes.candidates("*", "chat"))["f"]
        weights.append(shift)
    moves = np.diff(weights)
    turns = [a for a, b in itertools.pairwise(moves) if a * b < 0 and abs(a) > 0.02]
    assert max(abs(moves[-20:])) <= 0.02
    assert len(turns) <= 2
    assert weights[-1] == pytest.approx(0.5, abs=0.05)


def test_small_moves_are_not_published():
    orchestrator = grids.grid(("f", "h"))
    loaded(orchestrator, 10.0, {"f": 4, "h": 4})
    version = orchestrator.routes_version
    for step in range(20):
        loaded(orchestrator, 11.0 + step, {"f": 4, "h": 4})
    assert orchestrator.routes_version == version


def test_weights_arrive_where_load_says_though_each_step_is_damped():
    orchestrator = grids.grid(("f", "h"))
    for step in range(40):
        loaded(orchestrator, 2.0 + 0.5 * step, {"f": 1, "h": 0})
    weights = dict(orchestrator.routes.candidates("*", "chat"))
    # One job is an eighth of a replica's room: 1 / (1 + 1/8) against 1.
    exact = (8 / 9) / (8 / 9 + 1)
    assert weights["f"] == pytest.approx(exact, abs=Policy().route_change)


def test_one_way_delay_is_fibre_and_detour():
    orchestrator = Orchestrator()
    orchestrator.handle(0.0, SiteJoined(Site("tokyo", "hub", "r", 35.68, 139.77)))
    orchestrator.handle(0.0, SiteJoined(Site("osaka", "hub", "r", 34.69, 135.50)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 1))
    rows = np.array([0, 0], np.int32)
    delay = route.one_way_ms(orchestrator.state, rows, np.array([0, 1], np.int32))
    assert delay[0] == 0.0
    # About 400 km apart.
    assert delay[1] == pytest.approx(400 * route.FIBRE_MS_PER_KM, rel=0.02)
