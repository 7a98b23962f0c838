"""A rehearsal as a page for a terminal: one row a policy, notes, and the verdict."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.status_view import plain_table
from aigrid.twin.outcome import PolicyOutcome, Rehearsal
from aigrid.twin.report.figures import COLUMNS, Figure, best, count, simulated
from aigrid.twin.report.verdict import OURS, RADIO_LIMIT, Finding, Promised, verdict

# Most wanted first: a narrow terminal shows as many as fit, the report all.
WANTED = (
    *("radio_miss_rate", "slo_attainment", "idle_reclaimed", "tokens_per_s_mean", "ttft_ms_p99"),
    *("cost_per_mtok", "ttft_ms_p50", "refused", "energy_kwh", "revenue_per_capex"),
    "utilisation_mean",
)
BEST_STYLE, BAD_STYLE = "bold green", "bold red"
BEST_MARK = "*"
_FIGURES = {figure.name: figure for figure in COLUMNS}


def rehearsal_view(
    rehearsal: Rehearsal, columns: int, promised: Promised | None = None
) -> RenderableType:
    """Headline, table, notes and verdict.

    Args:
        rehearsal: what was found.
        columns: width of the terminal; a narrow one gets fewer columns of the table.
        promised: what the services promise, for the verdict's reasons.
    """
    parts: list[RenderableType] = [headline(rehearsal), "", _table(rehearsal, columns), ""]
    parts.append(Text(f"{BEST_MARK} best of its column", style="dim"))
    parts += [Text(f"{who}: {note}", style="dim") for who, note in _notes(rehearsal)]
    return Group(*parts, "", *map(_finding, verdict(rehearsal, promised or {})))


def headline(rehearsal: Rehearsal) -> Text:
    """Which rehearsal it was, and how large."""
    return Text.assemble(
        (rehearsal.scenario, "bold"),
        f"  seed {rehearsal.seed}, {rehearsal.sites:,} sites, {count(rehearsal.customers)} ",
        f"customers, {simulated(rehearsal.minutes)} simulated in ",
        f"{rehearsal.wall_s:.1f} s, {rehearsal.peak_rss_mb:,.0f} MB",
    )


def _table(rehearsal: Rehearsal, columns: int) -> Table:
    table = plain_table("policy")
    outcomes = list(rehearsal.policies.values())
    cells: list[list[Text]] = []
    used = max(len(outcome.policy) for outcome in outcomes)
    for figure in (_FIGURES[name] for name in WANTED):
        column = _column(figure, outcomes)
        used += 2 + max(
            map(len, (f"{figure.title} ", f"{figure.unit} ", *(c.plain for c in column)))
        )
        if used > columns:
            break
        cells.append(column)
        table.add_column(Text(f"{figure.title} \n{figure.unit} "), justify="right", no_wrap=True)
    for row, outcome in enumerate(outcomes):
        name = Text(outcome.policy, style="bold" if outcome.policy == OURS else "")
        table.add_row(name, *(column[row] for column in cells))
    return table


def _column(figure: Figure, outcomes: list[PolicyOutcome]) -> list[Text]:
    values = [float(getattr(outcome, figure.name)) for outcome in outcomes]
    top = best(figure, values)
    return [_cell(figure, value, row in top) for row, value in enumerate(values)]


def _cell(figure: Figure, value: float, is_best: bool) -> Text:
    """A value; the mark says what the colour says, for terminals without."""
    too_many = figure.name == "radio_miss_rate" and value > RADIO_LIMIT
    style = BAD_STYLE if too_many else BEST_STYLE if is_best else ""
    return Text(figure.spelt(value) + (BEST_MARK if is_best else " "), style=style)


def _notes(rehearsal: Rehearsal) -> list[tuple[str, str]]:
    """Each note once, with the policies that it is about."""
    told: dict[str, list[str]] = {}
    for outcome in rehearsal.policies.values():
        for note in outcome.notes:
            told.setdefault(note, []).append(outcome.policy)
    everyone = len(rehearsal.policies)
    return [("all" if len(who) == everyone else ", ".join(who), n) for n, who in told.items()]


def _finding(finding: Finding) -> Text:
    if finding.kept is None:
        return Text(f"-     {finding.text}", style="dim")
    mark = ("kept  ", BEST_STYLE) if finding.kept else ("not   ", BAD_STYLE)
    return Text.assemble(mark, finding.text)
