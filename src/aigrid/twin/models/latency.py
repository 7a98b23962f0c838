"""Distributions of time to first token and of time per output token at a busy site."""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc

from aigrid.twin.models.batches import Batch, batch, place_wait_cdf, prefill_samples_s
from aigrid.twin.models.queues import Floats, Stream, merged, mg1_wait_cdf, stream_of
from aigrid.twin.models.service import Service, ServiceCost

_GRID = 256
_WAITS = 24
_POINTS = 64


def ttft_cdf(
    cost: ServiceCost,
    service: Service,
    share: float,
    load: float,
    edges_ms: Floats,
    *,
    queue_limit: float = 2.0,
    spared: float = 0.0,
    others: Stream | None = None,
    turn: float = 1.0,
) -> Floats:
    """Distribution of time to first token at a site, without the path there.

    The sum of the wait for a place, the wait for earlier prefills, the own prefill and one decode
    step, taken as independent; prefills that come meanwhile go before that step. Where more than
    about 2% of requests wait for a place, the tail is too short: long prompts come in bursts, which
    also hold up decoding, and birth and death does not know it (see decision 0087).

    As a share of s makes every time 1/s as long, the answer for share s is that for the whole
    device with edges s times as large: a table by load is enough.

    Args:
        cost: of the service, with one place or more.
        service: its lengths.
        share: of a device, above 0.
        load: requests that come, over the capacity share / work_s; may exceed 1.
        edges_ms: (E,) increasing.
        queue_limit: line, as a multiple of the places.
        spared: part of every prompt that is in the cache already.
        others: prefills of other services of the site, in seconds on the whole device.
        turn: part of the decode time that the service has while it decodes.

    Returns:
        (E,) probability that a request that is let in has its first token by each edge.
    """
    own = prefill_samples_s(cost, service.prompt_tokens, spared) / share
    outside = Stream(0.0, 0.0, 0.0, 0.0) if others is None else stretched(others, share)
    state = batch(
        cost,
        service,
        share,
        load * share / cost.work_s,
        queue_limit=queue_limit,
        spared=spared,
        other_prefill=min(outside.busy, 0.99),
        turn=turn,
    )
    prefills = merged([stream_of(state.rate, own), outside])
    # The step itself, without the prefills that interrupt it: those are counted below.
    step = state.tpot_s * max(1.0 - prefills.busy, 0.0)
    grid = _grid_s(state, prefills, float(own.min()) + step)
    started = _overtaken_cdf(prefills, _until_step_s(prefills, own + step, grid), grid)
    cdf: Floats = _after_place_cdf(state, started, grid, np.asarray(edges_ms, np.float64) / 1e3)
    return cdf


def stretched(stream: Stream, share: float) -> Stream:
    """Work on a share of the device: every piece takes 1 / share as long."""
    return Stream(
        stream.rate,
        stream.mean_s / share,
        stream.square_s2 / share**2,
        stream.cube_s3 / share**3,
    )


def _grid_s(state: Batch, prefills: Stream, shortest_s: float) -> Floats:
    longest = 4.0 * (len(state.states) / state.full_rate + 100.0 * prefills.mean_s)
    return np.concatenate(([0.0], np.geomspace(0.1 * shortest_s, longest, _GRID)))


def _until_step_s(prefills: Stream, own_s: Floats, grid: Floats) -> Floats:
    """Wait for earlier prefills and own work, as equally likely sums: (_POINTS,) seconds."""
    waited = mg1_wait_cdf(prefills, grid)
    chance = (np.arange(_WAITS) + 0.5) / _WAITS
    wait = np.interp(waited[0] + (1.0 - waited[0]) * chance, waited, grid)
    sums = np.concatenate((own_s, (own_s[:, None] + wait[None, :]).ravel()))
    weight = np.concatenate(
        (np.full(len(own_s), waited[0]), np.full(len(own_s) * _WAITS, (1.0 - waited[0]) / _WAITS))
    )
    order = np.argsort(sums, kind="stable")
    reached = np.cumsum(weight[order]) - weight[order] / 2.0
    middle = (np.arange(_POINTS) + 0.5) / _POINTS
    points: Floats = np.interp(middle, reached / weight.sum(), sums[order])
    return points


def _overtaken_cdf(prefills: Stream, work_s: Floats, grid: Floats) -> Floats:
    """P(first token <= t) on the grid, where prefills that come later go before the first step.

    Work of x is interrupted by Poisson many busy periods of prefill, each with mean m / (1 - rho)
    and second moment m2 / (1 - rho)^3 (a delay cycle: Kleinrock I, 5.9 and II, 3.3). None come with
    probability exp(-lambda x); what the others add is taken as gamma distributed.
    """
    left = max(1.0 - prefills.busy, 1e-3)
    none = np.exp(-prefills.rate * work_s)
    some = np.maximum(1.0 - none, 1e-300)
    count = prefills.rate * work_s
    mean = count * prefills.mean_s / left
    square = count * prefills.square_s2 / left**3 + mean * mean
    mean, square = np.maximum(mean / some, 1e-12), square / some
    spread = np.maximum(square - mean * mean, 1e-6 * mean * mean)
    after = np.maximum(grid[:, None] - work_s[None, :], 0.0)
    late = gammainc(mean * mean / spread, after * (mean / spread))
    here = grid[:, None] >= work_s[None, :]
    cdf: Floats = (here * none + some * late).mean(axis=1)
    return cdf


def _after_place_cdf(state: Batch, started: Floats, grid: Floats, at_s: Floats) -> Floats:
    """P(wait for a place + what follows <= t); both as columns over the grid."""
    place = place_wait_cdf(state, grid)
    at_once = float(place[0])
    cdf: Floats = at_once * np.interp(at_s, grid, started, left=0.0)
    if at_once < 1.0 - 1e-6:
        # Those who wait, as equally likely waits.
        chance = (np.arange(_WAITS) + 0.5) / _WAITS
        waits = np.interp(at_once + (1.0 - at_once) * chance, place, grid)
        late = np.interp(at_s[:, None] - waits[None, :], grid, started, left=0.0)
        cdf = cdf + (1.0 - at_once) * late.mean(axis=1)
    return cdf


def tpot_cdf(state: Batch, edges_ms: Floats) -> Floats:
    """Distribution of a request's time per output token: (E,) for increasing edges.

    That of the step that a token sees. A request of many tokens sees a mean of steps, so its own
    distribution is no wider than this one.
    """
    seen = state.decoding * np.arange(state.places + 1) / np.maximum(state.step_s, 1e-300)
    if seen.sum() <= 0.0:
        seen = np.zeros(state.places + 1)
        seen[min(1, state.places)] = 1.0
    below = state.step_s[None, :] * 1e3 <= np.asarray(edges_ms)[:, None]
    cdf: Floats = (below * (seen / seen.sum())).sum(axis=1)
    return cdf
