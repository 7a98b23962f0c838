"""Distributions of time to first token and of time per output token at a busy site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aigrid.twin.models.batches import Batch, prefill_samples_s
from aigrid.twin.models.first_token import latencies, pace_cdf
from aigrid.twin.models.gammas import gamma_table
from aigrid.twin.models.queues import Floats, Stream
from aigrid.twin.models.service import Service, ServiceCost


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
    outside = Stream(0.0, 0.0, 0.0, 0.0) if others is None else stretched(others, share)
    at_s = np.concatenate(([0.0], np.asarray(edges_ms, np.float64) / 1e3))
    first, _ = latencies_of(
        cost,
        service,
        share,
        np.array([load * share / cost.work_s]),
        at_s,
        queue_limit=queue_limit,
        spared=(spared,),
        others=[outside],
        turn=np.array([turn]),
    )
    found: Floats = first[0, 0, 1:]
    return found


def latencies_of(
    cost: ServiceCost,
    service: Service,
    share: float,
    rate: Floats,
    at_s: Floats,
    *,
    queue_limit: float,
    spared: Sequence[float],
    others: Sequence[Stream],
    turn: Floats,
) -> tuple[Floats, Floats]:
    """Both distributions in several states at once, as `ttft_cdf` and `tpot_cdf` say.

    Args:
        cost: of the service, with one place or more.
        service: its lengths.
        share: of a device.
        rate: (L,) requests a second that come.
        at_s: (E,) times, increasing from 0.
        queue_limit: line, as a multiple of the places.
        spared: (Q,) parts of every prompt that are in the cache already.
        others: (L,) prefills of other services, on this share.
        turn: (L,) part of the decode time that the service has while it decodes.

    Returns:
        (Q, L, E) of time to first token and (L, E) of time per output token, the latter with the
        last of `spared`.
    """
    first, pace = np.zeros((len(spared), len(rate), len(at_s))), np.zeros((len(rate), len(at_s)))
    own = np.stack([prefill_samples_s(cost, service.prompt_tokens, part) for part in spared])
    latencies(
        gamma_table(),
        cost.places,
        int(queue_limit * cost.places),
        cost.step_fixed_s,
        cost.step_sequence_s,
        service.generated_tokens.mean if service.decodes else 1.0,
        own / share,
        rate,
        share * turn,
        np.array([(one.rate, one.mean_s, one.square_s2, one.cube_s3) for one in others]),
        at_s,
        first,
        pace,
    )
    return first, pace


def stretched(stream: Stream, share: float) -> Stream:
    """Work on a share of the device: every piece takes 1 / share as long."""
    return Stream(
        stream.rate,
        stream.mean_s / share,
        stream.square_s2 / share**2,
        stream.cube_s3 / share**3,
    )


def tpot_cdf(state: Batch, edges_ms: Floats) -> Floats:
    """Distribution of a request's time per output token: (E,) for increasing edges.

    That of the step that a token sees. A request of many tokens sees a mean of steps, so its own
    distribution is no wider than this one.
    """
    cdf = np.zeros(len(edges_ms))
    at_s = np.asarray(edges_ms, np.float64) / 1e3
    pace_cdf(state.states, state.places, state.step_s, at_s, cdf)
    return cdf
