"""Four small sites against one central cluster with the same accelerators, under a burst.

Both have the same capacity: m devices of a site are one that is m times as fast. The sites are
nearer; the cluster pools its queue. What differs is the distance, what a session finds in the
cache, and the price of a place. Sites are loaded alike, which favours them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aigrid.twin.models import roofline
from aigrid.twin.models.batches import batch
from aigrid.twin.models.calibration import bare_service
from aigrid.twin.models.devices import known
from aigrid.twin.models.latency import ttft_cdf
from aigrid.twin.models.service import Service
from aigrid.twin.published.inputs import Inputs

_EDGES_MS = np.geomspace(1.0, 60_000.0, 240)


def compute(inputs: Inputs) -> dict[str, float]:
    """Throughput, cost and latency at burst.

    Returns:
        `gain_sticky_%` and `gain_scattered_%`: tokens/s answered in time, four sites over the
        cluster, where the cluster keeps sessions on their device, and where it does not;
        `cost_sticky_%` and `cost_scattered_%`: cost of such a token, likewise; `p99_ms` of the
        four sites; `tokens_per_s` of theirs.
    """
    service = _service(inputs)
    devices = inputs.number("devices")
    burst = inputs.number("burst_tokens_per_s") / service.generated_tokens.mean
    limit_ms = inputs.number("limit_ms")
    near, far = inputs.number("near_round_trip_ms"), inputs.number("far_round_trip_ms")
    residency = service.residency
    sites = [_Side(inputs, service, 1.0, near, residency, burst / devices)] * int(devices)
    sticky = _Side(inputs, service, devices, far, residency, burst)
    scattered = _Side(inputs, service, devices, far, residency / devices, burst)
    ours = sum(side.in_time(limit_ms) for side in sites)
    local_usd = inputs.number("local_usd_per_device_year")
    central_usd = inputs.number("central_usd_per_device_year")
    return {
        "gain_sticky_%": _more(ours, sticky.in_time(limit_ms)),
        "gain_scattered_%": _more(ours, scattered.in_time(limit_ms)),
        "cost_sticky_%": _cheaper(local_usd, central_usd, ours, sticky.in_time(limit_ms)),
        "cost_scattered_%": _cheaper(local_usd, central_usd, ours, scattered.in_time(limit_ms)),
        "p99_ms": sites[0].quantile_ms(0.99),
        "tokens_per_s": ours,
    }


def _more(ours: float, theirs: float) -> float:
    # Rounded, so that what is equal but for rounding has no sign.
    return round(100.0 * (ours / max(theirs, 1e-9) - 1.0), 6) + 0.0


def _cheaper(local_usd: float, central_usd: float, local: float, central: float) -> float:
    return _more(local_usd / local, central_usd / max(central, 1e-9))


def _service(inputs: Inputs) -> Service:
    layers = inputs.number("layers")
    bare = bare_service(
        "voice",
        inputs.number("parameters"),
        1.0,
        2.0 * layers * inputs.number("cached_width"),
        4.0 * layers * inputs.number("width"),
        int(inputs.number("prompt_tokens")),
        int(inputs.number("generated_tokens")),
        int(inputs.number("max_batch")),
    )
    return replace(
        bare,
        shared_prefix_tokens=inputs.number("shared_prefix_tokens"),
        residency=inputs.number("residency"),
        tpot_slo_ms=inputs.number("tpot_slo_ms"),
    )


class _Side:
    """A site, or the cluster, at a rate of requests."""

    def __init__(
        self,
        inputs: Inputs,
        service: Service,
        devices: float,
        round_trip_ms: float,
        residency: float,
        rate: float,
    ) -> None:
        warm = replace(service, residency=residency)
        cost = roofline.service_cost(warm, known(inputs.text("device")))
        spared = residency * service.shared_prefix_tokens / service.prompt_tokens.mean
        self._tokens = service.generated_tokens.mean
        line = inputs.number("queue_limit")
        self._state = batch(cost, warm, devices, rate, spared=spared, queue_limit=line)
        load = rate * cost.work_s / devices
        self._cdf = ttft_cdf(cost, warm, devices, load, _EDGES_MS, spared=spared, queue_limit=line)
        self._edges_ms = round_trip_ms + _EDGES_MS

    def in_time(self, limit_ms: float) -> float:
        """Tokens/s of requests whose first token comes within the limit."""
        part = float(np.interp(limit_ms, self._edges_ms, self._cdf, left=0.0))
        return self._state.rate * self._tokens * part

    def quantile_ms(self, probability: float) -> float:
        """Time to first token that this part of requests stays below."""
        return float(np.interp(probability, self._cdf, self._edges_ms))
