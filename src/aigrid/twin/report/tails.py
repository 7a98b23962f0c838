"""What request by request adds to a rehearsal: tails and lines, a row a policy and service."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from aigrid.twin.outcome import Rehearsal
from aigrid.twin.region.tails import EventsRehearsal
from aigrid.twin.report.figures import NONE


class Column(NamedTuple):
    """A figure of the table: its name in `--json`, its title and its unit."""

    name: str
    title: str
    unit: str


COLUMNS = (
    Column("requests", "requests", ""),
    Column("refused", "refused", ""),
    Column("slo_attainment", "SLO met", "%"),
    Column("ttft_ms_p50", "TTFT p50", "ms"),
    Column("ttft_ms_p95", "p95", "ms"),
    Column("ttft_ms_p99", "p99", "ms"),
    Column("ttft_ms_p999", "p99.9", "ms"),
    Column("tpot_ms_p99", "TPOT p99", "ms"),
    Column("queue_max", "line", "longest"),
    Column("e2e_ms_p50", "whole p50", "s"),
    Column("e2e_ms_p99", "whole p99", "s"),
)
EVERY = "all"


class Row(NamedTuple):
    """One line: the policy, the service or `EVERY`, and a text for each of `COLUMNS`."""

    policy: str
    service: str
    cells: tuple[str, ...]


def rows_of(rehearsal: Rehearsal) -> list[Row]:
    """The table; empty where the rehearsal was one of flows."""
    if not isinstance(rehearsal, EventsRehearsal):
        return []
    rows = []
    for policy, outcome in rehearsal.policies.items():
        if outcome.served <= 0.0:
            continue
        tails = rehearsal.tails[policy]
        rows.append(Row(policy, EVERY, _cells(outcome.figures() | tails.whole)))
        rows += [
            Row(policy, service, _cells(figures))
            for service, figures in tails.services.items()
            if figures["requests"] > 0.0
        ]
    return rows


def told_of(rehearsal: Rehearsal) -> str:
    """Where requests came from, and how many events that were; empty for flows."""
    if not isinstance(rehearsal, EventsRehearsal):
        return ""
    return (
        f"Requests: {rehearsal.requests_from}. {rehearsal.events:,} events, "
        f"{rehearsal.events_per_s:,.0f} a second in the engine."
    )


def _cells(figures: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(_spelt(figures[column.name], column.unit) for column in COLUMNS)


def _spelt(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return NONE
    if unit == "%":
        return f"{value:.2%}"
    if unit == "s":
        return f"{value / 1e3:,.2f}"
    if unit == "ms" and value < 100.0:
        return f"{value:,.1f}"
    return f"{value:,.0f}"
