"""A plan as a page for a terminal: what to buy, its money, what binds, planned beside rehearsed."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.app.planning import Planned
from aigrid.cli.status_view import plain_table
from aigrid.twin.planning import report
from aigrid.twin.planning.rehearsed import Rehearsed
from aigrid.twin.planning.search import Found
from aigrid.twin.planning.solution import account

# Places a round is told with.
SHOWN = 3
GOOD, BAD = "bold green", "bold red"


def plan_view(done: Planned) -> RenderableType:
    """Headline, purchases, money, what binds, gaps, and the rehearsal where there was one."""
    found, rehearsed = done.found, done.rehearsed
    parts: list[RenderableType] = [_headline(found), "", _bought(found), "", _money(found), ""]
    parts += [Text(line) for line in report.binding(found)]
    parts.append(_gap(found))
    if not found.best.upward.any() and not found.best.own.any():
        parts += ["", Text("nothing can be carried: see above for what is in the way", style=BAD)]
    elif rehearsed is None:
        parts += ["", Text("not rehearsed: add --rehearse to see whether it holds", style="dim")]
    else:
        parts += ["", _beside(found, rehearsed)]
        if len(done.rounds) > 1 or not done.rounds[0].holds:
            parts += ["", _rounds(done)]
        parts += ["", _verdict(done, rehearsed)]
    return Group(*parts)


def _headline(found: Found) -> Text:
    network = found.model.country.network
    carries = report.carried_share(found)
    best = found.best
    return Text.assemble(
        (found.model.country.name, "bold"),
        f"  {len(network):,} sites, {network.customers.sum():,.0f} customers; carries ",
        (f"{carries:.1%}", GOOD if not found.obstacles else BAD),
        f" of the demand\n{best.method} plan in {best.seconds:.1f} s",
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
            _devices(row["devices"]),
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
            f"fast over exact: {found.gap:+.2%}, with energy as it is used {found.gap_in_use:+.2%} "
            f"({found.fast.seconds:.1f} s against {found.exact.seconds:.1f} s; HiGHS left "
            f"{found.open_gap:.2%} open)"
        )
    if not math.isnan(found.gap_to_bound):
        words.append(_above(found.gap_to_bound))
    return Text("\n".join(words) or "how far from the cheapest is not known")


def _above(gap: float) -> str:
    if gap > 1.0:
        return f"the cost that no plan can beat is {1.0 + gap:,.1f} times lower, which says little"
    return f"at most {gap:.1%} above a cost that no plan can beat"


def _beside(found: Found, rehearsed: Rehearsed) -> Table:
    table = plain_table("", "planned", "rehearsed", right=("planned", "rehearsed"))
    money = account(found.model, found.best)
    least = f">= {report.planned_attainment(found):.2%}"
    in_time = [(f"{name} in time", least, f"{part:.2%}") for name, part in rehearsed.attained]
    rows = (
        *in_time,
        ("answered, of requests sold", "100.00%", f"{rehearsed.served:.2%}"),
        ("something runs, hubs and factories", _percent(report.planned_utilisation(found)),
         _percent(rehearsed.utilisation)),
        ("tokens sold, USD a year", f"{money.revenue_usd:,.0f}", f"{rehearsed.revenue_usd:,.0f}"),
        ("energy, USD a year", f"{money.energy_usd:,.0f}", f"{rehearsed.energy_usd:,.0f}"),
    )  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def _rounds(done: Planned) -> RenderableType:
    """Each round: what it cost, what it kept, and where it fell short."""
    table = plain_table(
        "round", "by", "USD a year", "capital USD", "planned", "rehearsed (worst)", "holds",
        right=("round", "USD a year", "capital USD", "planned"),
    )  # fmt: skip
    lines: list[RenderableType] = []
    for at, one in enumerate(done.rounds):
        money = account(one.found.model, one.found.best)
        name, kept = one.rehearsed.worst
        table.add_row(
            f"{'> ' if at == done.chosen else ''}{at + 1}",
            one.found.best.method,
            f"{money.cost_usd:,.0f}",
            f"{money.capital_usd:,.0f}",
            f">= {report.planned_attainment(one.found):.2%}",
            f"{kept:.2%} {name}",
            "yes" if one.holds else "no",
        )
        shorts = one.shortfalls[:SHOWN]
        lines += [Text(f"round {at + 1}, {report.mended(one.found, s)}") for s in shorts]
        if len(one.shortfalls) > SHOWN:
            lines.append(Text(f"round {at + 1}, and at {len(one.shortfalls) - SHOWN} more places"))
    return Group(table, "", *lines)


def _verdict(done: Planned, rehearsed: Rehearsed) -> Text:
    name, kept = rehearsed.worst
    asked = report.planned_attainment(done.found)
    if report.holds(done.found, rehearsed):
        return Text(f"the plan holds in the rehearsal: {kept:.2%} of {name} in time", style=GOOD)
    if not done.rounds[-1].shortfalls:
        return Text(
            f"the plan does not hold in the rehearsal: {kept:.2%} of {name} in time, {asked:.2%} "
            "planned, and at no site that more or other devices would mend; allow it at more kinds "
            "of sites (--at), or lower --slo",
            style=BAD,
        )
    return Text(
        f"no plan of {len(done.rounds)} rounds holds in the rehearsal; shown is the one that came "
        f"nearest: {kept:.2%} of {name} in time, {asked:.2%} planned; try more --rounds, other "
        "--device, or a lower --slo",
        style=BAD,
    )


def _devices(count: float) -> str:
    return f"{count:,.0f}" if count >= 1e3 or float(count).is_integer() else f"{count:.4g}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
