"""Distributions of time to first token and of time per output token at a busy site."""

from __future__ import annotations

import numpy as np

from aigrid.twin.models.batches import Batch, batch, prefill_samples_s
from aigrid.twin.models.first_token import first_cdf
from aigrid.twin.models.gammas import gamma_table
from aigrid.twin.models.queues import Floats, Stream, merged, stream_of
from aigrid.twin.models.service import Service, ServiceCost

_GRID = 256


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
    passed = max(float(state.states[:-1].sum()), 1e-300)
    cdf = np.zeros(len(edges_ms))
    first_cdf(
        gamma_table(),
        prefills.rate,
        prefills.mean_s,
        prefills.square_s2,
        prefills.cube_s3,
        own,
        step,
        _grid_s(state, prefills, float(own[0]) + step),
        state.states[state.places : -1] / passed,
        state.full_rate,
        np.asarray(edges_ms, np.float64) / 1e3,
        cdf,
    )
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
    steps = np.log(longest / (0.1 * shortest_s)) / (_GRID - 1.0)
    return np.concatenate(([0.0], 0.1 * shortest_s * np.exp(steps * np.arange(_GRID))))


def tpot_cdf(state: Batch, edges_ms: Floats) -> Floats:
    """Distribution of a request's time per output token: (E,) for increasing edges.

    That of the step that a token sees. A request of many tokens sees a mean of steps, so its own
    distribution is no wider than this one.
    """
    seen = state.decoding * np.arange(state.places + 1) / np.maximum(state.step_s, 1e-300)
    if seen.sum() <= 0.0:
        seen = np.zeros(state.places + 1)
        seen[min(1, state.places)] = 1.0
    reached = np.concatenate(([0.0], np.cumsum(seen / seen.sum())))
    cdf: Floats = reached[np.searchsorted(state.step_s * 1e3, edges_ms, side="right")]
    return cdf
