"""What request by request adds to a rehearsal: tails and lines, a row a policy and service."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.status_view import plain_table

if TYPE_CHECKING:
    from aigrid.twin.region.tails import EventsRehearsal

COLUMNS = (
    ("requests", "requests", ""),
    ("refused", "refused", ""),
    ("slo_attainment", "in time", "%"),
    ("ttft_ms_p50", "TTFT p50", "ms"),
    ("ttft_ms_p95", "p95", "ms"),
    ("ttft_ms_p99", "p99", "ms"),
    ("ttft_ms_p999", "p99.9", "ms"),
    ("tpot_ms_p99", "TPOT p99", "ms"),
    ("queue_max", "in line", "most"),
    ("e2e_ms_p50", "whole p50", "s"),
    ("e2e_ms_p99", "p99", "s"),
)
# Of a column, with its gap.
WIDTH = 11


def requests_view(rehearsal: EventsRehearsal, columns: int) -> RenderableType:
    """Tails of each policy, over all services and of each.

    Args:
        rehearsal: what was found.
        columns: width of the terminal; a narrow one gets fewer columns of the table.
    """
    names = [name for outcome in rehearsal.tails.values() for name in outcome.services]
    used = 2 + max(map(len, (*rehearsal.policies, "policy")))
    used += 2 + max(map(len, (*names, "service")))
    shown = COLUMNS[: max((columns - used) // WIDTH, 1)]
    table = plain_table("policy", "service")
    for _, title, unit in shown:
        table.add_column(Text(f"{title}\n{unit}"), justify="right", no_wrap=True)
    for policy, outcome in rehearsal.policies.items():
        if outcome.served <= 0.0:
            continue
        tails = rehearsal.tails[policy]
        _row(table, shown, (policy, "all"), outcome.figures() | tails.whole)
        for service, figures in tails.services.items():
            if figures["requests"] > 0.0:
                _row(table, shown, ("", service), figures)
    told = (
        f"requests {rehearsal.requests_from}, {rehearsal.events:,} events, "
        f"{rehearsal.events_per_s:,.0f} a second in the engine"
    )
    return Group(Text("\nrequest by request", style="bold"), table, Text(told, style="dim"))


def _row(
    table: Table,
    shown: Sequence[tuple[str, str, str]],
    names: tuple[str, str],
    figures: dict[str, float],
) -> None:
    table.add_row(*names, *(_spelt(figures[name], unit) for name, _, unit in shown))


def _spelt(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "-"
    if unit == "%":
        return f"{value:.2%}"
    if unit == "s":
        return f"{value / 1e3:,.2f}"
    if unit == "ms" and value < 100.0:
        return f"{value:,.1f}"
    return f"{value:,.0f}"
