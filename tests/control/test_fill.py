import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import fill, neighbours, pour
from aigrid.control.policy import Policy

POLICY = Policy()
SLO_MS = 500.0


def tree(rng: np.random.Generator, sites: int):
    """A factory, hubs below it, towers below them."""
    hubs = max(1, sites // 5)
    parent = np.full(sites, -1, np.int32)
    kind = np.full(sites, 2, np.int8)
    kind[0], kind[1 : 1 + hubs] = 0, 1
    parent[1 : 1 + hubs] = 0
    parent[1 + hubs :] = rng.integers(1, 1 + hubs, sites - 1 - hubs)
    return parent, kind


def case(seed: int, sites: int, width: int):
    rng = np.random.default_rng(seed)
    reach = neighbours.reach(*tree(rng, sites), width)
    demand = rng.exponential(2.0, sites) * (rng.random(sites) < 0.8)
    spare = rng.exponential(3.0, sites) * (rng.random(sites) < 0.8)
    site_ms = np.where(rng.random(sites) < 0.1, np.inf, rng.uniform(10.0, 700.0, sites))
    hop = rng.uniform(0.0, 20.0, reach.shape).astype(np.float32)
    return rng, reach, demand, spare, site_ms, hop


def flows(reach, demand, weight, sites):
    """What arrives at each site."""
    arrives = np.zeros(sites)
    named = reach >= 0
    np.add.at(arrives, reach[named], (demand[:, None] * weight)[named])
    return arrives


cases = st.tuples(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 10))


@given(cases)
def test_rows_sum_to_one_or_to_nothing_where_nobody_can(args):
    _, reach, demand, spare, site_ms, hop = case(*args)
    weight = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
    able = np.append((spare > 0) & np.isfinite(site_ms), False)[reach].any(axis=1)
    assert np.allclose(weight.sum(axis=1), able, atol=1e-5)


@given(cases)
def test_nothing_goes_where_it_may_not(args):
    rng, reach, demand, spare, site_ms, hop = case(*args)
    previous = rng.random(reach.shape).astype(np.float32)
    for old in (None, previous):
        weight = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS, old)
        able = np.append((spare > 0) & np.isfinite(site_ms), False)[reach]
        assert np.all(weight[~able] == 0.0)
        assert np.all(weight >= 0.0)


@given(cases)
def test_no_site_is_filled_beyond_what_it_spares_when_all_fits_somewhere(args):
    _, reach, demand, spare, _, hop = case(*args)
    sites = len(spare)
    spare[0] = demand.sum() + 1.0  # the factory takes what is left over
    fast = np.full(sites, 10.0)
    weight = fill.waterfill(POLICY, reach, demand, spare, fast, hop, SLO_MS)
    reaches_factory = (reach == 0).any(axis=1)
    if reaches_factory[demand > 0].all():
        arrives = flows(reach, demand, weight, sites)
        assert np.all(arrives <= spare * (1 + 1e-4) + 1e-4 * demand.sum())


@given(cases)
def test_the_same_question_gets_the_same_answer_to_the_bit(args):
    _, reach, demand, spare, site_ms, hop = case(*args)
    before = [a.copy() for a in (reach, demand, spare, site_ms, hop)]
    first = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
    again = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
    assert first.tobytes() == again.tobytes()
    for was, now in zip(before, (reach, demand, spare, site_ms, hop), strict=True):
        assert np.array_equal(was, now)


@given(cases)
def test_what_one_works_in_before_does_not_show(args):
    rng, reach, demand, spare, site_ms, hop = case(*args)
    old, used = rng.random(reach.shape).astype(np.float32), np.full(reach.shape, 7.0, np.float32)
    asked = (POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
    for size in ((*reach.shape[:1], len(spare), reach.shape[1]), (1, 1, 1)):
        work = pour.work_of(*size)
        for column in work:
            column[:] = 1
        for previous in (None, old):
            found = fill.waterfill(*asked, previous, used, work)
            assert found is used
            assert found.tobytes() == fill.waterfill(*asked, previous).tobytes()


@given(cases)
def test_weights_that_are_right_already_stay(args):
    _, reach, demand, spare, site_ms, hop = case(*args)
    first = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
    again = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS, first)
    assert np.allclose(first, again, atol=1e-5)


def star(towers: int):
    """Towers below one hub below one factory."""
    parent = np.array([-1, 0] + [1] * towers, np.int32)
    kind = np.array([0, 1] + [2] * towers, np.int8)
    return neighbours.reach(parent, kind, 4)


def test_load_stays_near_then_overflows_to_the_hub_and_then_to_the_factory():
    reach, sites = star(2), 4
    hop = np.zeros(reach.shape, np.float32)
    calm = np.full(sites, 10.0)
    spare = np.array([100.0, 5.0, 4.0, 4.0])
    main = []
    for asked in (2.0, 8.0, 30.0):
        demand = np.array([0.0, 0.0, asked, asked])
        weight = fill.waterfill(POLICY, reach, demand, spare, calm, hop, SLO_MS)
        main.append(flows(reach, demand, weight, sites))
    reserved = POLICY.route_reserve * 60.0
    assert main[0][2] > 1.8
    assert main[1][:2].sum() > 2 * (8.0 - 4.0) - reserved
    assert main[1][1] > 4.0
    assert main[2][0] > 60.0 - 5.0 - 8.0 - reserved


def test_a_site_that_is_too_slow_comes_last_and_one_that_slows_gets_less():
    reach = star(1)
    hop, spare = np.zeros(reach.shape, np.float32), np.full(3, 10.0)
    demand = np.array([0.0, 0.0, 9.0])
    at_home = []
    for slow_ms in (10.0, 400.0, 900.0):
        site_ms = np.array([10.0, 10.0, slow_ms])
        weight = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS)
        at_home.append(float(weight[2][reach[2] == 2].sum()))
    assert at_home[0] > 0.9
    assert at_home[2] < 0.1
    assert at_home[0] > at_home[1] > at_home[2]


def test_unneeded_candidates_keep_a_door_open():
    reach = star(2)
    hop, spare = np.zeros(reach.shape, np.float32), np.full(4, 10.0)
    demand = np.array([0.0, 0.0, 1.0, 1.0])
    weight = fill.waterfill(POLICY, reach, demand, spare, np.full(4, 10.0), hop, SLO_MS)
    assert np.all(weight[2:] > 0.0)
    assert np.all(weight[2:].max(axis=1) >= 1.0 - POLICY.route_reserve)


def test_no_door_is_kept_open_where_the_promise_is_not_kept():
    reach = star(2)
    hop, spare = np.zeros(reach.shape, np.float32), np.full(4, 10.0)
    demand = np.array([0.0, 0.0, 1.0, 1.0])
    slow_tower = np.array([10.0, 10.0, 900.0, 10.0])
    weight = fill.waterfill(POLICY, reach, demand, spare, slow_tower, hop, SLO_MS)
    assert np.all(weight[reach == 2][2:] == 0.0)
    assert np.all(weight[2:][reach[2:] != 2] > 0.0)


def test_one_candidate_in_time_leaves_the_fastest_of_the_others_as_a_last_resort():
    reach = star(1)
    hop, spare = np.zeros(reach.shape, np.float32), np.full(3, 10.0)
    site_ms = np.array([700.0, 900.0, 10.0])
    weight = fill.waterfill(POLICY, reach, np.array([0.0, 0.0, 1.0]), spare, site_ms, hop, SLO_MS)
    mine = dict(zip(reach[2].tolist(), weight[2].tolist(), strict=True))
    assert mine[2] > 0.99
    assert 0.0 < mine[0] <= 2 * pour.LAST_RESORT
    assert mine[1] == 0.0


def test_unknown_demand_spreads_by_what_sites_can_spare():
    reach = star(1)
    hop, spare = np.zeros(reach.shape, np.float32), np.array([6.0, 3.0, 1.0])
    weight = fill.waterfill(POLICY, reach, np.zeros(3), spare, np.zeros(3), hop, SLO_MS)
    assert np.allclose(np.sort(weight[2][:3]), [0.1, 0.3, 0.6], atol=1e-6)


@given(st.floats(5.0, 60.0), st.floats(0.5, 4.0))
def test_after_a_step_of_load_weights_settle_and_do_not_swing(base_ms, asked):
    """Load follows weights, waits follow load (as of M/M/1), weights follow waits."""
    reach, sites = star(2), 4
    hop = np.zeros(reach.shape, np.float32)
    spare = np.array([20.0, 6.0, 2.0, 2.0])
    demand = np.array([0.0, 0.0, asked, asked])
    weight, at_home = None, []
    arrives = np.zeros(sites)
    for _ in range(60):
        busy = np.minimum(arrives / (spare / POLICY.route_fill), 0.99)
        site_ms = base_ms / (1.0 - busy)
        weight = fill.waterfill(POLICY, reach, demand, spare, site_ms, hop, SLO_MS, weight)
        arrives = flows(reach, demand, weight, sites)
        at_home.append(float(weight[2, 0]))
    moves = np.diff(at_home)
    turns = [a for a, b in itertools.pairwise(moves) if a * b < 0 and abs(a) > 0.02]
    assert len(turns) <= 2
    assert max(abs(moves[-20:])) <= 0.01


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 4))
def test_a_split_gives_out_no_more_than_there_is(seed, sites, services):
    rng = np.random.default_rng(seed)
    compute = rng.exponential(2.0, sites) * (rng.random(sites) < 0.8)
    wanted = rng.exponential(1.0, (sites, services)) * (rng.random((sites, services)) < 0.7)
    work_s = rng.uniform(0.01, 2.0, (sites, services))
    resident = rng.random((sites, services)) < 0.7
    spare = fill.split(POLICY, compute, wanted, work_s, resident)
    used = (spare * work_s).sum(axis=1)
    room = POLICY.route_fill * compute * resident.any(axis=1)
    assert np.allclose(used, room, rtol=1e-9, atol=1e-9)
    assert np.all(spare[~resident] == 0.0)
    assert np.all(spare >= 0.0)
    enough = (wanted * work_s * resident).sum(axis=1) <= room
    served = spare + 1e-9 >= wanted
    assert np.all(served[enough] | ~resident[enough])
