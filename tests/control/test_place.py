import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.control import grids

from aigrid.control import place
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.core.events import ServiceDeployed, SiteJoined, Tick
from aigrid.core.state import UP


@given(st.lists(grids.sites, max_size=8), st.lists(grids.deployments, max_size=6))
def test_placement_keeps_within_memory_and_region(sites, deployments):
    orchestrator = Orchestrator()
    for event in [*map(SiteJoined, sites), *deployments]:
        orchestrator.handle(0.0, event)
    state = orchestrator.state
    chosen = place.wanted(state)
    memory = chosen @ state.services.memory_mb[: state.service_count]
    assert np.all(memory <= state.sites.memory_mb[: state.site_count])
    for row, column in np.argwhere(chosen).tolist():
        allowed = state.services.regions[column]
        assert state.sites.status[row] == UP
        assert not allowed or state.sites.region[row] in allowed


def test_a_service_stands_on_every_site_that_may_have_it():
    orchestrator = Orchestrator()
    for name, region in (("f", "north"), ("h", "south"), ("t1", "north")):
        orchestrator.handle(0.0, SiteJoined(grids.site(name, region=region)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100, regions=("north",)))
    assert place.wanted(orchestrator.state)[:, 0].tolist() == [True, False, True]


def test_where_memory_is_short_the_older_service_stays():
    orchestrator = Orchestrator()
    orchestrator.handle(0.0, SiteJoined(grids.site("h", memory_mb=150)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100))
    orchestrator.handle(0.0, ServiceDeployed("embed", "sha256:2", 100))
    assert place.wanted(orchestrator.state).tolist() == [[True, False]]


def test_a_service_that_no_site_would_choose_stands_on_one_and_stays_there():
    orchestrator = Orchestrator()
    for name in ("h", "t1", "t2"):
        orchestrator.handle(0.0, SiteJoined(grids.site(name, memory_mb=150)))
    state = orchestrator.state
    for column, service in enumerate(("chat", "embed")):
        orchestrator.handle(0.0, ServiceDeployed(service, f"sha256:{column}", 100))
    state.replicas.expected_per_s[:3, 0] = 10.0
    for now_s in range(1, 5):
        orchestrator.handle(0.1 * now_s, Tick())
        wanted = state.replicas.wanted[:3, :2]
        assert wanted.sum(axis=0).tolist() == [2, 1]
        assert wanted.sum(axis=1).tolist() == [1, 1, 1]
        before = wanted.copy()
        for row in range(3):
            assert place.wanted(state, row).tolist() == before[row : row + 1].tolist()


@given(st.lists(grids.sites, max_size=8), st.lists(grids.deployments, max_size=6))
def test_no_service_is_left_out_while_a_site_has_room_for_it_alone(sites, deployments):
    orchestrator = Orchestrator()
    for event in [*map(SiteJoined, sites), *deployments]:
        orchestrator.handle(0.0, event)
    state = orchestrator.state
    chosen = place.wanted(state)
    rows = slice(0, state.site_count)
    alone = chosen & (chosen.sum(axis=0) == 1)
    need = state.services.memory_mb[: state.service_count]
    left = state.sites.memory_mb[: state.site_count] - alone @ need
    for column in np.flatnonzero(~chosen.any(axis=0) & state.services.wanted[: len(need)]):
        assert not np.any(place.allowed(state, rows)[:, column] & (left >= need[column]))


def wishes(seed: int, sites: int, services: int):
    """Arguments of `choose`, `resident` last."""
    rng = np.random.default_rng(seed)
    shape = (sites, services)
    return [
        rng.uniform(0.0, 4.0, sites),
        rng.uniform(0.0, 40.0, sites),
        rng.exponential(1.0, shape) * (rng.random(shape) < 0.7),
        rng.uniform(0.1, 2.0, shape),
        rng.choice([2.0, 5.0, 16.0], shape),
        rng.uniform(0.0, 4000.0, shape),
        rng.uniform(0.0, 1.0, services),
        rng.random(shape) < 0.8,
        rng.random(shape) < 0.3,
    ]


many = st.tuples(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 6))


@given(many)
def test_placement_never_takes_more_memory_than_there_is_nor_a_site_that_is_not_allowed(args):
    wanted = wishes(*args)
    chosen = place.choose(Policy(), *wanted)
    assert np.all((chosen * wanted[4]).sum(axis=1) <= wanted[1])
    assert not np.any(chosen & ~wanted[7])


@given(many)
def test_the_same_wants_again_change_nothing(args):
    wanted = wishes(*args)
    chosen = place.choose(Policy(), *wanted)
    assert np.array_equal(place.choose(Policy(), *wanted[:-1], chosen), chosen)


@given(many, st.integers(0, 10_000))
def test_small_changes_of_demand_do_not_shuffle_a_calm_grid(args, seed):
    wanted = wishes(*args)
    chosen = place.choose(Policy(), *wanted)
    rng = np.random.default_rng(seed)
    wanted[2] = wanted[2] * rng.uniform(0.95, 1.15, wanted[2].shape)
    assert np.array_equal(place.choose(Policy(), *wanted[:-1], chosen), chosen)


def test_memory_goes_to_what_earns_most_of_it_once_it_pays_to_move():
    def chosen(asked, resident):
        one = np.ones((1, 2))
        return place.choose(
            Policy(),
            np.array([10.0]),
            np.array([10.0]),
            np.array([asked]),
            one,
            10.0 * one,
            60.0 * one,
            np.ones(2),
            one > 0.0,
            np.array([resident]),
        )[0].tolist()

    assert chosen([1.0, 2.0], [False, False]) == [False, True]
    assert chosen([1.0, 1.2], [True, False]) == [True, False]
    assert chosen([1.0, 2.0], [True, False]) == [False, True]
