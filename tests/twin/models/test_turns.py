"""Services that take turns: the fixed point, beside closed forms and beside the event engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.twin.models.test_latency import COST, SERVICE
from tests.twin.region import one

from aigrid.twin.models import turns
from aigrid.twin.models.batches import batch
from aigrid.twin.models.lengths import fixed
from aigrid.twin.models.service import Service, ServiceCost
from aigrid.twin.models.turns import Turns, shared, turns_of
from aigrid.twin.region import columns
from aigrid.twin.region.events import advance

# A light one, and one of single looks.
LIGHT = replace(SERVICE, prompt_tokens=fixed(200.0), generated_tokens=fixed(60.0))
LOOK = replace(SERVICE, prompt_tokens=fixed(256.0), generated_tokens=fixed(1.0))
QUICK = replace(COST, step_fixed_s=0.005, step_sequence_s=1e-4)
SERVICES, COSTS = (SERVICE, LIGHT, LOOK), (COST, QUICK, QUICK)


def works() -> np.ndarray:
    prefill = [
        c.prefill_fixed_s + s.prompt_tokens.mean * c.prefill_s_per_token
        for c, s in zip(COSTS, SERVICES, strict=True)
    ]
    decode = [
        s.generated_tokens.mean * (c.step_fixed_s / c.places + c.step_sequence_s)
        for c, s in zip(COSTS, SERVICES, strict=True)
    ]
    return np.array(prefill) + np.array(decode)


@pytest.fixture(scope="module")
def table() -> Turns:
    return turns_of([COSTS], SERVICES, 2.0)


@pytest.mark.parametrize("load", [0.02, 0.3, 0.6, 0.9])
def test_one_service_alone_is_a_batch_alone(load: float) -> None:
    alone = turns_of([(COST,)], (SERVICE,), 2.0)
    rate = load / COST.work_s
    found, state = shared(alone, 0, np.array([rate])), batch(COST, SERVICE, 1.0, rate)
    assert found.turn[0] == pytest.approx(1.0)
    assert found.prefill == pytest.approx(state.prefill_busy, rel=2e-3)
    assert found.busy == pytest.approx(state.utilisation, rel=0.01)


@pytest.mark.parametrize("load", [0.01, 0.1, 0.4])
def test_turns_share_out_the_time_that_anything_decodes(table: Turns, load: float) -> None:
    rates = load / 3.0 / works()
    found = shared(table, 0, rates)
    left = 1.0 - found.prefill
    alone = rates * table.cost[0, :, turns.ALONE] / found.turn / left
    cell = alone / (1.0 + alone) * turns.CELLS
    busy = np.array(
        [
            np.interp(at, np.arange(turns.CELLS + 1), row)
            for at, row in zip(cell, table.busy[0], strict=True)
        ]
    )
    assert busy @ found.turn == pytest.approx((found.busy - found.prefill) / left, rel=0.01)


def test_what_is_too_much_is_cut_to_what_there_is_time_for(table: Turns) -> None:
    work = works()
    for times in (1.5, 4.0, 40.0):
        found = shared(table, 0, times / 3.0 / work)
        assert found.fullest > 1.0
        assert found.passed @ work <= 1.0 + 1e-9
        assert found.busy == pytest.approx(1.0, abs=0.01)
    few = np.array([100.0, 0.01, 0.01]) / work
    assert shared(table, 0, few).passed[1:] == pytest.approx(few[1:])


@pytest.mark.parametrize("load", [0.02, 0.1, 0.3, 0.45])
def test_a_site_of_three_services_is_as_busy_as_request_by_request(
    table: Turns, load: float
) -> None:
    """Full batches would do each load; small ones cost more, so that 0.6 is about all there is."""
    rates = load / 3.0 / works()
    found = shared(table, 0, rates)
    busy, served = _by_events(rates, 60_000)
    assert found.busy == pytest.approx(busy, rel=0.05)
    assert found.passed.sum() == pytest.approx(served, rel=0.03)


def _by_events(rates: np.ndarray, total: int) -> tuple[float, float]:
    """Part of the time that the site works, and requests a second that it serves."""
    chance = np.random.default_rng(7)
    came_s = np.cumsum(chance.exponential(1.0 / rates.sum(), total))
    whose = chance.choice(3, total, p=rates / rates.sum())
    arrivals = np.zeros(total, columns.ARRIVAL)
    arrivals["came_s"], arrivals["service"] = came_s, whose
    arrivals["chance"] = arrivals["luck"] = 1.0
    for s, service in enumerate(SERVICES):
        mine = whose == s
        arrivals["prompt"][mine] = _drawn(service, "prompt_tokens", chance, int(mine.sum()))
        arrivals["generated"][mine] = _drawn(service, "generated_tokens", chance, int(mine.sum()))
    costs = np.array([_row(cost) for cost in COSTS])
    places = [cost.places for cost in COSTS]
    city = one.several(costs, places, [2 * n for n in places], total)
    ended = np.zeros(total, columns.GONE_BY)
    advance(city, 0.0, float(came_s[-1]), np.ones(1), arrivals, np.zeros(0, np.int64), ended)
    gone = ended[: city.counts[columns.ENDED]]
    worked = float(city.servers["busy_s"][0])
    return worked / came_s[-1], float(np.count_nonzero(gone["site"] >= 0)) / came_s[-1]


def _drawn(service: Service, name: str, chance: np.random.Generator, count: int) -> np.ndarray:
    tokens: np.ndarray = getattr(service, name).at(chance.random(count))
    return np.maximum(tokens, 1.0)


def _row(cost: ServiceCost) -> tuple[float, float, float, float]:
    step = (cost.step_fixed_s, cost.step_sequence_s)
    return (cost.prefill_fixed_s, cost.prefill_s_per_token, *step)
