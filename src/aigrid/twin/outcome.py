"""What a rehearsal found, for a terminal, a report and `--json` alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

FIGURES = (
    "radio_miss_rate",
    "utilisation_mean",
    "utilisation_radio_only",
    "idle_reclaimed",
    "tokens_per_s_mean",
    "requests",
    "served",
    "refused",
    "slo_attainment",
    "ttft_ms_p50",
    "ttft_ms_p99",
    "energy_kwh",
    "cost_per_mtok",
    "revenue_per_capex",
)


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """One policy's day.

    Attributes:
        policy: its name.
        radio_miss_rate: slots that missed their deadline, of all slots of all cells' sites.
        utilisation_mean: busy share of all sites' compute, radio and AI, weighted by compute.
        utilisation_radio_only: what the radio alone keeps busy, of the towers' compute.
        idle_reclaimed: of the towers' compute that the radio left idle, the part AI was given.
        tokens_per_s_mean: prompt and generated tokens of served requests.
        requests: that came; served + refused + in flight at the end.
        served: that were answered.
        refused: that nobody took.
        slo_attainment: of all requests that came, the part answered within TTFT and TPOT.
        ttft_ms_p50: of served requests, from the user's device and back.
        ttft_ms_p99: likewise.
        energy_kwh: of all sites.
        cost_per_mtok: USD for a million tokens served (capital, energy, upkeep), whole-site.
        revenue_per_capex: AI revenue a USD of capital over the capital's life, whole-site reading.
        series: name to (minutes,) or, for latencies, to what `series_units` says; for charts.
        regions: name of a figure to (regions,) values; for the map.
        histograms: `ttft_ms:SERVICE` and `tpot_ms:SERVICE` to (2, bins): upper edges, requests.
        money: name of a line to USD a year; both readings (`whole_site:*`, `marginal:*`).
        notes: what a reader should know, a sentence each.
    """

    policy: str
    radio_miss_rate: float
    utilisation_mean: float
    utilisation_radio_only: float
    idle_reclaimed: float
    tokens_per_s_mean: float
    requests: float
    served: float
    refused: float
    slo_attainment: float
    ttft_ms_p50: float
    ttft_ms_p99: float
    energy_kwh: float
    cost_per_mtok: float
    revenue_per_capex: float
    series: dict[str, Series] = field(default_factory=dict)
    regions: dict[str, Series] = field(default_factory=dict)
    histograms: dict[str, Series] = field(default_factory=dict)
    money: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, float]:
        """The figures that `--json` prints."""
        return {name: getattr(self, name) for name in FIGURES}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All policies over one scenario; (commit, scenario, seed) name it.

    Attributes:
        scenario: its name.
        seed: of chance.
        sites: how many.
        customers: how many.
        minutes: simulated.
        wall_s: real time it took.
        peak_rss_mb: largest resident memory of the process, or of one worker.
        trace_sha256: of every decision and outcome; does not depend on wall time or threads.
        region_names: of the map's regions, with their positions.
        region_latitude_deg: (regions,).
        region_longitude_deg: (regions,).
        policies: by name, in the order they were asked for.
    """

    scenario: str
    seed: int
    sites: int
    customers: float
    minutes: int
    wall_s: float
    peak_rss_mb: float
    trace_sha256: str
    region_names: tuple[str, ...]
    region_latitude_deg: Series
    region_longitude_deg: Series
    policies: dict[str, PolicyOutcome]

    def to_dict(self) -> dict[str, Any]:
        """The one object of `--json`."""
        heads = ("scenario", "seed", "sites", "customers", "minutes", "wall_s", "peak_rss_mb")
        return {
            **{name: getattr(self, name) for name in heads},
            "trace_sha256": self.trace_sha256,
            "policies": {name: outcome.figures() for name, outcome in self.policies.items()},
        }
