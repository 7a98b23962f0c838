"""Distributions of time to first token and of time per output token at a busy site."""

from __future__ import annotations

import numpy as np

from aigrid.twin.models.batches import Batch, batch, place_wait_cdf, prefill_samples_s
from aigrid.twin.models.queues import Floats, Stream, merged, mg1_wait_cdf, stream_of
from aigrid.twin.models.service import Service, ServiceCost

_GRID = 256
_WAITS = 32
# Waits shorter than this count as none.
_SHORTEST_S = 1e-5


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
) -> Floats:
    """Distribution of time to first token at a site, without the path there.

    The sum of the wait for a place, the wait for earlier prefills, the own prefill and one decode
    step, taken as independent. As a share of s makes every time 1/s as long, the answer for share s
    is that for the whole device with edges s times as large: a table by load is enough.

    Args:
        cost: of the service, with one place or more.
        service: its lengths.
        share: of a device, above 0.
        load: requests that come, over the capacity share / work_s; may exceed 1.
        edges_ms: (E,) increasing.
        queue_limit: line, as a multiple of the places.
        spared: part of every prompt that is in the cache already.
        others: prefills of other services of the site, in seconds on the whole device.

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
    )
    after = own + state.tpot_s
    waited = _WaitsCdf(state, merged([stream_of(state.rate, own), outside]))
    left = np.asarray(edges_ms, np.float64)[:, None] / 1e3 - after[None, :]
    cdf: Floats = waited(left).mean(axis=1)
    return cdf


def stretched(stream: Stream, share: float) -> Stream:
    """Work on a share of the device: every piece takes 1 / share as long."""
    return Stream(
        stream.rate,
        stream.mean_s / share,
        stream.square_s2 / share**2,
        stream.cube_s3 / share**3,
    )


class _WaitsCdf:
    """P(wait for a place + wait for prefill <= t), ready to be asked often."""

    def __init__(self, state: Batch, prefills: Stream) -> None:
        longest = 4.0 * (len(state.states) / state.full_rate + 100.0 * prefills.mean_s) + 1.0
        self._grid = np.concatenate(([0.0], np.geomspace(_SHORTEST_S, longest, _GRID)))
        self._prefill = mg1_wait_cdf(prefills, self._grid)
        place = place_wait_cdf(state, self._grid)
        self._at_once = float(place[0])
        # Those who wait, as equally likely waits.
        middle = (np.arange(_WAITS) + 0.5) / _WAITS
        self._waits = np.interp(self._at_once + (1.0 - self._at_once) * middle, place, self._grid)

    def __call__(self, at_s: Floats) -> Floats:
        """Any shape in, the same out."""
        cdf = self._at_once * self._after(at_s)
        if self._at_once < 1.0 - 1e-6:
            late = self._after(at_s[..., None] - self._waits).mean(axis=-1)
            cdf = cdf + (1.0 - self._at_once) * late
        return cdf

    def _after(self, at_s: Floats) -> Floats:
        reached: Floats = np.interp(at_s, self._grid, self._prefill, left=0.0)
        return reached


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
