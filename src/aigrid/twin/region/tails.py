"""How long requests took, counted in fine bins: medians and tails of any number of requests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.outcome import PolicyOutcome, Rehearsal

Floats = NDArray[np.float64]
# Steps of half a percent from 0.01 ms to three hours: a quantile is off by a quarter percent.
STEP, LOWEST_MS = 0.005, 0.01
BINS = 4200
EDGES_MS = LOWEST_MS * np.exp(STEP * np.arange(BINS))
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}
TTFT, TPOT, WHOLE = "ttft_ms", "tpot_ms", "e2e_ms"
MEASURES = (TTFT, TPOT, WHOLE)


def counted(values_ms: Floats) -> Floats:
    """(BINS,) how many values lie in each bin."""
    at = np.ceil(np.log(np.maximum(values_ms, LOWEST_MS) / LOWEST_MS) / STEP).astype(np.int64)
    return np.bincount(np.minimum(at, BINS - 1), minlength=BINS).astype(np.float64)


def quantile(counts: Floats, probability: float) -> float:
    """Quantile in ms, straight within a bin; NaN where nothing was counted."""
    total = counts.sum()
    if total <= 0.0:
        return float("nan")
    reached = np.cumsum(counts)
    at = int(np.searchsorted(reached, probability * total))
    at = min(at, BINS - 1)
    before = reached[at - 1] if at else 0.0
    part = (probability * total - before) / max(counts[at], 1.0)
    low = EDGES_MS[at - 1] if at else 0.0
    return float(low + (EDGES_MS[at] - low) * min(max(part, 0.0), 1.0))


def rebinned(counts: Floats, edges_ms: Floats) -> Floats:
    """The same counts by other upper edges, the last infinite: (E,)."""
    below = np.interp(edges_ms[:-1], EDGES_MS, np.cumsum(counts), left=0.0)
    return np.diff(np.concatenate(([0.0], below, [counts.sum()])))


@dataclass(frozen=True, slots=True)
class Tails:
    """What request by request shows beyond `PolicyOutcome`.

    Attributes:
        whole: name of a figure to its value, over all services.
        services: name of a service to the same figures.
    """

    whole: dict[str, float]
    services: dict[str, dict[str, float]] = field(default_factory=dict)


def figures_of(counts: dict[str, Floats]) -> dict[str, float]:
    """Quantiles of each measure: `ttft_ms_p50` and so on."""
    return {
        f"{measure}_{name}": quantile(counts[measure], probability)
        for measure in MEASURES
        for name, probability in QUANTILES.items()
    }


@dataclass(frozen=True, slots=True)
class EventsRehearsal(Rehearsal):
    """A rehearsal request by request.

    Attributes:
        requests_from: where the requests came from: a trace's name, or `synthetic`.
        events: that happened, under all policies.
        events_per_s: of real time spent in the engine.
        tails: of each policy.
        country: as rehearsed, with what a trace says about its service; None where made up.
    """

    requests_from: str = ""
    events: int = 0
    events_per_s: float = 0.0
    tails: dict[str, Tails] = field(default_factory=dict)
    country: Country | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object of flows, with tails."""
        told = Rehearsal.to_dict(self)
        policies = {
            name: figures | self.tails[name].whole | {"services": self.tails[name].services}
            for name, figures in told.pop("policies").items()
        }
        mine = {"requests_from": self.requests_from, "events": self.events}
        return told | mine | {"events_per_s": self.events_per_s, "policies": policies}


def outcome_with(
    outcome: PolicyOutcome,
    whole: dict[str, Floats],
    histograms: dict[str, Floats],
    notes: tuple[str, ...] = (),
) -> PolicyOutcome:
    """A policy's outcome with latencies of requests in place of those of flows, and more notes."""
    return replace(
        outcome,
        ttft_ms_p50=quantile(whole[TTFT], 0.5),
        ttft_ms_p99=quantile(whole[TTFT], 0.99),
        histograms=histograms,
        notes=outcome.notes + notes,
    )
