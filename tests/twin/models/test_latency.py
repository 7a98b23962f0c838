"""A busy site's equilibrium and latencies, against a small simulation of the scheduling rule."""

import heapq
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from aigrid.twin.models.batches import batch, place_wait_cdf
from aigrid.twin.models.latency import tpot_cdf, ttft_cdf
from aigrid.twin.models.lengths import CONVERSATION_GENERATED, CONVERSATION_PROMPT, fixed
from aigrid.twin.models.queues import Stream
from aigrid.twin.models.service import Service, ServiceCost

SERVICE = Service(
    name="chat",
    parameters=8e9,
    memory_parameters=8e9,
    bytes_per_weight=1.0,
    kv_bytes_per_token=131072.0,
    prompt_tokens=CONVERSATION_PROMPT,
    generated_tokens=CONVERSATION_GENERATED,
    shared_prefix_tokens=0.0,
    residency=0.0,
    ttft_slo_ms=1000.0,
    tpot_slo_ms=100.0,
    requests_per_customer_day=1.0,
    shape="conversation",
    usd_per_m_prompt_tokens=0.1,
    usd_per_m_generated_tokens=0.1,
)
COST = ServiceCost(
    prefill_s_per_token=4e-5,
    prefill_fixed_s=1e-3,
    step_fixed_s=0.015,
    step_sequence_s=3e-4,
    places=32,
    work_s=1e-3 + 1154.7 * 4e-5 + 211.1 * (0.015 / 32 + 3e-4),
    load_s=2.0,
    memory_gb=16.0,
)
EDGES_MS = np.geomspace(5.0, 60_000.0, 200)


def at(cdf: np.ndarray, probability: float) -> float:
    return float(np.interp(probability, cdf, EDGES_MS))


def simulated(load: float, requests: int, seed: int) -> tuple[np.ndarray, float, float]:
    """TTFT in ms, utilisation and mean batch of requests through prefill first, then the batch.

    The batch shares its server: all of n sequences make tokens at a rate of 1 / step(n) while
    nothing is in prefill.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(COST.work_s / load, requests))
    prompts, answers = (
        lengths.at(rng.random(requests))
        for lengths in (CONVERSATION_PROMPT, CONVERSATION_GENERATED)
    )
    now = made = busy_s = area = 0.0  # made: tokens that each sequence has had since the start
    leaving: list[float] = []  # what `made` will be when a sequence ends
    waiting_first: list[tuple[float, int]] = []
    line: list[int] = []
    prefill_left, current, next_in = 0.0, -1, 0
    ttft = np.zeros(requests)
    served = 0
    while served < requests:
        if current < 0 and line and len(leaving) < COST.places:
            current = line.pop(0)
            prefill_left = COST.prefill_fixed_s + COST.prefill_s_per_token * prompts[current]
        n = len(leaving)
        step = COST.step_fixed_s + n * COST.step_sequence_s
        until = arrivals[next_in] - now if next_in < requests else np.inf
        if current >= 0:
            until = min(until, prefill_left)
        elif n:
            mark = leaving[0] if not waiting_first else min(leaving[0], waiting_first[0][0])
            until = min(until, max(mark - made, 0.0) * step)
        now += until
        area += n * until
        if current >= 0:
            prefill_left -= until
            busy_s += until
        elif n:
            made += until / step
            busy_s += until
        if current >= 0 and prefill_left <= 1e-12:
            heapq.heappush(leaving, made + answers[current])
            waiting_first.append((made + 1.0, current))
            current = -1
        while waiting_first and made >= waiting_first[0][0] - 1e-9:
            index = waiting_first.pop(0)[1]
            ttft[index] = now - arrivals[index]
        while leaving and made >= leaving[0] - 1e-9:
            heapq.heappop(leaving)
            served += 1
        if next_in < requests and now >= arrivals[next_in] - 1e-12:
            line.append(next_in)
            next_in += 1
    return ttft * 1e3, busy_s / now, area / now


@pytest.mark.parametrize("load", [0.3, 0.6, 0.7])
def test_the_equilibrium_is_near_a_simulation_of_the_rule(load: float) -> None:
    ttft_ms, busy, in_batch = simulated(load, 6000, 11)
    state = batch(COST, SERVICE, 1.0, load / COST.work_s)
    cdf = ttft_cdf(COST, SERVICE, 1.0, load, EDGES_MS)
    assert state.utilisation == pytest.approx(busy, rel=0.05)
    assert state.mean_batch == pytest.approx(in_batch, rel=0.1)
    assert at(cdf, 0.5) == pytest.approx(float(np.quantile(ttft_ms, 0.5)), rel=0.1)
    assert at(cdf, 0.95) == pytest.approx(float(np.quantile(ttft_ms, 0.95)), rel=0.1)


def test_nothing_is_lost_between_what_comes_and_what_is_let_in() -> None:
    for load in (0.0, 0.5, 1.0, 1.5, 4.0):
        state = batch(COST, SERVICE, 1.0, load / COST.work_s)
        assert state.rate == pytest.approx(load / COST.work_s * (1.0 - state.blocked))
        assert state.states.sum() == pytest.approx(1.0)
        assert 0.0 <= state.utilisation <= 1.0


def test_a_site_that_is_asked_for_too_much_serves_its_capacity_and_refuses_the_rest() -> None:
    state = batch(COST, SERVICE, 1.0, 2.0 / COST.work_s)
    assert state.rate == pytest.approx(1.0 / COST.work_s, rel=0.02)
    assert state.blocked == pytest.approx(0.5, abs=0.02)
    assert state.mean_in_line > COST.places


def test_half_the_share_takes_twice_as_long() -> None:
    whole = ttft_cdf(COST, SERVICE, 1.0, 0.7, EDGES_MS)
    half = ttft_cdf(COST, SERVICE, 0.5, 0.7, EDGES_MS * 2.0)
    assert half == pytest.approx(whole, abs=1e-6)


def test_more_load_and_other_prefills_never_make_it_faster() -> None:
    cdfs = [ttft_cdf(COST, SERVICE, 1.0, load, EDGES_MS) for load in (0.1, 0.5, 0.9, 1.2)]
    for sooner, later in pairwise(cdfs):
        assert at(later, 0.5) >= at(sooner, 0.5)
        assert at(later, 0.95) >= at(sooner, 0.95)
    beside = ttft_cdf(COST, SERVICE, 1.0, 0.5, EDGES_MS, others=Stream(3.0, 0.1, 0.02, 0.006))
    assert at(beside, 0.95) > at(cdfs[1], 0.95)
    assert np.all(np.diff(beside) >= -1e-9)


def test_a_resident_prefix_saves_its_prefill() -> None:
    cold = ttft_cdf(COST, SERVICE, 1.0, 0.4, EDGES_MS)
    warm = ttft_cdf(COST, SERVICE, 1.0, 0.4, EDGES_MS, spared=0.8)
    assert at(warm, 0.95) < 0.6 * at(cold, 0.95)


def test_nobody_waits_for_a_place_at_a_quiet_site() -> None:
    quiet = batch(COST, SERVICE, 1.0, 0.2 / COST.work_s)
    full = batch(COST, SERVICE, 1.0, 1.2 / COST.work_s)
    at_s = np.array([-0.1, 0.0, 1.0, 1000.0])
    assert place_wait_cdf(quiet, at_s)[1:] == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)
    waits = place_wait_cdf(full, at_s)
    assert waits[0] == 0.0
    assert waits[1] < 0.05
    assert waits[3] == pytest.approx(1.0)


def test_time_per_token_grows_from_one_sequence_to_a_full_batch() -> None:
    edges = np.linspace(1.0, 200.0, 400)
    alone = batch(COST, SERVICE, 1.0, 1e-9)
    busy = batch(COST, SERVICE, 1.0, 0.9 / COST.work_s)
    assert alone.tpot_s == pytest.approx(0.0153, rel=0.01)
    assert busy.tpot_s > 1.5 * alone.tpot_s
    assert tpot_cdf(alone, edges)[-1] == pytest.approx(1.0)
    assert np.interp(0.5, tpot_cdf(busy, edges), edges) > 1e3 * alone.tpot_s


def test_one_place_is_a_queue_of_one() -> None:
    single = replace(COST, places=1, work_s=0.1)
    state = batch(single, SERVICE, 1.0, 0.05)
    assert state.mean_batch <= 1.0
    assert len(state.states) == 4


def test_an_embedding_is_served_as_fast_as_prefills_are() -> None:
    embeds = replace(SERVICE, prompt_tokens=fixed(500.0), generated_tokens=fixed(0.0))
    cost = replace(COST, step_fixed_s=1e-9, step_sequence_s=0.0)
    prefill_s = cost.prefill_fixed_s + 500 * cost.prefill_s_per_token
    state = batch(cost, embeds, 1.0, 0.5 / prefill_s)
    assert state.rate == pytest.approx(0.5 / prefill_s)
    assert state.prefill_busy == pytest.approx(0.5, rel=1e-6)
    assert state.busy < 1e-6 and state.blocked == 0.0
    over = batch(cost, embeds, 1.0, 2.0 / prefill_s)
    assert over.rate == pytest.approx(1.0 / prefill_s, rel=0.01)
