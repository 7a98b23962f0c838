"""Kernels of a minute: chance, flows, compute among services, what the forecast knows."""

from __future__ import annotations

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.control import forecast
from aigrid.control.policy import Policy
from aigrid.twin.fluid import caution, chance, experience, flows, radio, sites
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.fluid.radio_kernels import LOG_OFFSET
from aigrid.twin.fluid.responses import (
    LOAD_LOOKUP,
    LOAD_STEPS,
    LOADS,
    PATHS,
    SPEEDS,
    Responses,
    quantile_ms,
    ttft_counts,
)
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.models.slots import SLOT_CORRELATION, independent_slots, need_table
from aigrid.twin.policies import plan_of

NORMALS = chance.normals()


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_of(small.country(), plan_of("aigrid"), Policy())


@pytest.fixture(scope="module")
def responses(ground: Ground) -> Responses:
    return responses_of(ground)


def test_chance_depends_on_seed_stream_step_and_row_alone() -> None:
    start = chance.key(5, chance.RADIO, 9)
    forth = [chance.draw(start, row) for row in range(50)]
    assert forth == [chance.draw(start, row) for row in reversed(range(50))][::-1]
    together = np.empty(30, np.uint64)
    chance.draws(start, 20, together)
    assert together.tolist() == forth[20:]
    others = {chance.key(6, chance.RADIO, 9), chance.key(5, chance.DEMAND, 9)}
    assert start not in others | {chance.key(5, chance.RADIO, 10)}
    assert len(set(forth)) == 50


def test_deviates_are_normal_and_four_of_a_draw_are_independent() -> None:
    start = chance.key(1, 0, 0)
    draws = [chance.draw(start, row) for row in range(20_000)]
    four = np.array([[_normal(bits, part) for part in range(4)] for bits in draws])
    assert np.abs(four.mean(axis=0)).max() < 0.03
    assert np.abs(np.corrcoef(four.T) - np.eye(4)).max() < 0.03
    assert np.mean(four > 1.6449) == pytest.approx(0.05, abs=0.003)


def _normal(bits: int, part: int) -> float:
    value: float = chance.normal(np.uint64(bits), part, NORMALS)
    return value


def test_exponential_is_that_of_the_library() -> None:
    x = np.linspace(-39.0, 39.0, 4001)
    found = np.array([chance.exponential(value) for value in x])
    assert np.allclose(found, np.exp(x), rtol=1e-5, atol=0.0)


def test_requests_go_down_the_weights_and_those_without_a_candidate_are_told() -> None:
    reach = np.array([[0, 1], [1, 0], [2, -1]], np.int32)
    weight = np.array([[0.75, 0.25], [1.0, 0.0], [0.0, 0.0]], np.float32)
    arrive = np.zeros(3)
    target, rate = np.array([-1, 1, -1], np.int32), np.array([4.0, 2.0, 1.0])
    several = flows.several_of(target, reach, weight)
    came, lost = flows.push(target, several, rate, arrive, (0,) * reach.shape[1])
    assert (came, lost) == (7.0, 1.0)
    assert arrive.tolist() == [3.0, 3.0, 0.0]


def test_what_forecasts_know_is_what_many_days_would_teach(ground: Ground) -> None:
    tables = radio.tables_of(ground.country, 2000)
    known = experience.load_profile(ground, tables)
    learned = forecast.empty(len(ground.network), experience.RADIO_BINS)
    state, none = radio.at_rest(len(ground.network)), np.zeros(len(ground.network))
    every, at = slice(0, len(none)), 615
    for day in range(600):
        start = chance.key(3, chance.RADIO_BEFORE, day)
        radio.minute_of_radio(ground, tables, state, none, at, start, 0.0, every)
        forecast.learn(learned, at, state.seen, 0.0)
    towers, column = ground.has_radio, at // 30
    off = learned.mean[towers, column] - known.mean[towers, column]
    assert abs(off.mean()) < 0.03
    ratio = learned.spread[towers, column] / known.spread[towers, column]
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("cells", "median"), [(1, 0.02), (3, 0.1), (6, 0.15), (6, 0.4)])
def test_what_is_kept_for_the_radio_is_exceeded_as_rarely_as_asked(
    cells: int, median: float
) -> None:
    """Two million slots, each at a load of its own around the forecast, as the model draws them."""
    late, slow, spread, slots = 1e-3, 1e-2, 0.25, 200
    tables = need_table(small.RADIO, cells, guard_slots=slots)
    kept = caution.caution_of(
        small.RADIO, np.array([cells]), tables, spread, late=late, slow=slow, guard_slots=slots
    )
    at = caution.at_median(np.log(median))
    rng = np.random.default_rng(8)
    load = np.minimum(median * np.exp(spread * rng.standard_normal(2_000_000)), 1.0)
    radio_ = small.RADIO
    base = cells * (radio_.fixed + radio_.per_load * load * (1.0 - radio_.burstiness))
    slot = base + rng.binomial(cells, load) * radio_.per_load * radio_.burstiness
    assert np.mean(slot > kept.slot[cells, at] + 1e-9) <= 1.1 * late
    trials = round(cells * independent_slots(slots, SLOT_CORRELATION))
    busy = rng.binomial(trials, load) * cells / trials
    mean = base + busy * radio_.per_load * radio_.burstiness
    over = np.mean(mean > kept.sustained[cells, at] + 1e-9)
    assert over <= 1.1 * slow
    assert median < 0.1 or over >= 0.3 * slow or kept.sustained[cells, at] >= kept.slot[cells, at]


def test_ai_that_makes_way_gets_no_more_than_the_radio_leaves(ground: Ground) -> None:
    tables = radio.tables_of(ground.country, 2000)
    state, every = radio.at_rest(len(ground.network)), slice(0, len(ground.network))
    share = np.ones(len(ground.network))
    start = chance.key(1, chance.RADIO, 0)
    used, _ = radio.minute_of_radio(ground, tables, state, share, 0, start, 0.9, every)
    left = ground.compute.sum() - used
    assert (state.given * ground.compute).sum() == pytest.approx(left)
    assert (state.given[ground.has_radio] < 1.0).all()


def test_a_site_is_counted_on_at_the_share_it_keeps_while_open(ground: Ground) -> None:
    tables = radio.tables_of(ground.country, 2000)
    towers, share = ground.has_radio, np.where(ground.has_radio, 0.9, 1.0)
    shares = [
        radio.least_share(ground, tables, np.full(len(share), at), 0.1, share, slice(None))
        for at in LOG_OFFSET + np.array([-5.0, -2.5, -0.1])
    ]
    assert (np.diff(shares, axis=0) <= 0.0).all()
    assert (shares[0][~towers] == 1.0).all()
    # At a full load a site would be shut, not slow: what counts is what it has just before.
    assert (shares[2][towers] > 0.3).all()


def test_a_site_spares_what_it_serves_without_breaking_a_promise() -> None:
    """Promises that need half a device up to a load of 0.5, and a whole one beyond."""
    loads = LOADS[np.newaxis]
    needed = np.where(loads <= 0.5, 0.5, 1.0)
    share, zeros = np.array([1.0, 0.6, 0.3, 0.0]), np.zeros(4, np.int64)
    spare, found = np.full(4, 8.0), np.zeros(4)
    lookup = (0.85, LOADS, LOAD_LOOKUP, LOAD_STEPS, np.ones(4))
    idle = (np.ones(4), zeros, 8, np.zeros(4), needed, 100.0)
    sites.site_times(share, *idle, *lookup, spare, found)
    assert found[:3] == pytest.approx([50.0, 100.0 * 0.5 / 0.6, 100.0 * 0.5 / 0.3])
    assert np.isinf(found[3])
    assert spare[:2] == pytest.approx([8.0, 8.0 * 0.5 / 0.85])


def test_a_slow_or_busy_site_answers_later(ground: Ground, responses: Responses) -> None:
    shape = (len(ground.types), len(SPEEDS), len(LOADS), 2, PATHS)
    medians = []
    for speed, load in ((30, 1), (40, 1), (30, 13)):
        mass = np.zeros(shape)
        mass[0, speed, load, 1, 0] = 100.0
        counts = ttft_counts(ground, responses, 0, mass.reshape(-1, 2, PATHS))
        assert counts.sum() == pytest.approx(100.0)
        medians.append(quantile_ms(_edges(), counts, 0.5))
    slow, fast, busy = medians
    assert fast < slow < busy
    assert fast > ground.country.path.radio_ms


def _edges() -> np.ndarray:
    from aigrid.twin.fluid.responses import TTFT_MS

    return TTFT_MS


def test_a_warm_prefix_is_answered_sooner(responses: Responses) -> None:
    calm = LOADS < 0.9
    warm, cold = responses.ttft[0, :, 0, calm], responses.ttft[0, :, 1, calm]
    assert (warm >= cold - 1e-6).all()
    assert (warm > cold + 1e-3).any()


def test_promises_are_kept_less_often_from_afar_and_under_load(responses: Responses) -> None:
    kept = responses.kept[1].reshape(-1, len(SPEEDS), len(LOADS), 2, PATHS)
    assert (np.diff(kept, axis=-1) <= 1e-6).all()
    assert kept[0, 45, 1, 1, 0] > kept[0, 45, -1, 1, 0]
