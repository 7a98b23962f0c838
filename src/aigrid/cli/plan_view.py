"""A plan as a page for a terminal: what to buy, its money, what binds, planned beside rehearsed."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.status_view import plain_table
from aigrid.twin.planning import report
from aigrid.twin.planning.rehearsed import Rehearsed
from aigrid.twin.planning.search import Found
from aigrid.twin.planning.solution import account

GOOD, BAD = "bold green", "bold red"


def plan_view(found: Found, rehearsed: Rehearsed | None) -> RenderableType:
    """Headline, purchases, money, what binds, gaps, and the rehearsal where there was one."""
    parts: list[RenderableType] = [_headline(found), "", _bought(found), "", _money(found), ""]
    parts += [Text(line) for line in report.binding(found)]
    parts.append(_gap(found))
    if rehearsed is None:
        parts += ["", Text("not rehearsed: add --rehearse to see whether it holds", style="dim")]
    else:
        parts += ["", _beside(found, rehearsed), "", _verdict(found, rehearsed)]
    return Group(*parts)


def _headline(found: Found) -> Text:
    network = found.model.country.network
    carries = report.carried_share(found)
    best = found.best
    return Text.assemble(
        (found.model.country.name, "bold"),
        f"  {len(network):,} sites, {network.customers.sum():,.0f} customers; carries ",
        (f"{carries:.1%}", GOOD if not found.obstacles else BAD),
        f" of the demand; {best.method} plan in {best.seconds:.1f} s",
    )


def _bought(found: Found) -> Table:
    table = plain_table(
        "at", "device", "sites", "devices", "capital USD", "busiest", "planned for",
        right=("sites", "devices", "capital USD", "busiest", "planned for"),
    )  # fmt: skip
    for row in report.bought(found, found.best):
        table.add_row(
            row["kind"],
            row["device"],
            f"{row['sites']:,}",
            f"{row['devices']:,.5g}",
            f"{row['capital_usd']:,.0f}",
            _percent(row["peak_load"]),
            _percent(row["planned_load"]),
        )
    return table


def _money(found: Found) -> Table:
    table = plain_table("a year", "USD", right=("USD",))
    told = report.figures(found, found.best)
    lines = (
        ("tokens sold", told["revenue_usd"]),
        ("capital, written off, with upkeep", -told["capital_a_year_usd"]),
        ("energy", -told["energy_usd"]),
        ("network", -told["network_usd"]),
        ("left", told["profit_usd"]),
    )
    for name, value in lines:
        table.add_row(name, f"{value:,.0f}")
    life = found.model.country.money.life_years
    table.add_row(f"return on capital over {life:g} years", _percent(told["return_on_capital"]))
    payback = told["payback_years"]
    table.add_row("payback", "never" if math.isinf(payback) else f"{payback:.1f} years")
    return table


def _gap(found: Found) -> Text:
    words = []
    if found.exact is not None and found.fast is not None:
        words.append(
            f"fast over exact: {found.gap:+.2%} ({account(found.model, found.fast).cost_usd:,.0f} "
            f"against {account(found.model, found.exact).cost_usd:,.0f} USD a year; "
            f"{found.fast.seconds:.1f} s against {found.exact.seconds:.1f} s)"
        )
    if not math.isnan(found.gap_to_bound):
        words.append(f"at most {found.gap_to_bound:.2%} above the cheapest there can be")
    return Text("; ".join(words) or "how far from the cheapest is not known")


def _beside(found: Found, rehearsed: Rehearsed) -> Table:
    table = plain_table("", "planned", "rehearsed", right=("planned", "rehearsed"))
    money = account(found.model, found.best)
    rows = (
        ("in time, of requests sold", f">= {report.planned_attainment(found):.2%}",
         f"{rehearsed.slo_attainment:.2%}"),
        ("answered, of requests sold", "100.00%", f"{rehearsed.served:.2%}"),
        ("something runs, hubs and factories", _percent(report.planned_utilisation(found)),
         _percent(rehearsed.utilisation)),
        ("tokens sold, USD a year", f"{money.revenue_usd:,.0f}", f"{rehearsed.revenue_usd:,.0f}"),
        ("energy, USD a year", f"{money.energy_usd:,.0f}", f"{rehearsed.energy_usd:,.0f}"),
    )  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def _verdict(found: Found, rehearsed: Rehearsed) -> Text:
    if report.holds(found, rehearsed):
        return Text("the plan holds in the rehearsal", style=GOOD)
    return Text(
        "the plan does not hold in the rehearsal: "
        f"{rehearsed.slo_attainment:.2%} in time, {report.planned_attainment(found):.2%} planned",
        style=BAD,
    )


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
