"""A recorded grid and its twin side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.status_view import duration, plain_table
from aigrid.twin.mirror.comparison import TARGET_PCT, TARGET_ROWS, Mirror, Row
from aigrid.twin.report.figures import NONE, count, ms, share

GOOD_STYLE, BAD_STYLE = "bold green", "bold red"


def mirror_view(mirror: Mirror) -> RenderableType:
    """Headline, figures, notes, and whether the aim was met."""
    head = Text.assemble(
        (mirror.folder, "bold"),
        f"  {mirror.sites} sites, {mirror.requests:,} requests in {duration(mirror.predicted_s)}",
        f", predicted from the {duration(mirror.fitted_s)} before",
    )
    notes = [Text(f"note: {note}", style="dim") for note in mirror.notes]
    load = (
        f"machine load {mirror.load_average[0]:.1f} on average, {mirror.load_average[1]:.1f} most"
    )
    given = [Text(f"given: {one}", style="dim") for one in mirror.inputs]
    told = Text("predicted: routes, shares, waiting, times, and how busy engines are", style="dim")
    under: list[RenderableType] = [*given, told, Text(load, style="dim"), *notes]
    return Group(head, "", _table(mirror), "", *under, _verdict(mirror))


def _table(mirror: Mirror) -> Table:
    figures = ["measured", "predicted", "error", *["without weather"] * bool(mirror.blind)]
    table = plain_table("figure", *figures, right=tuple(figures))
    blind = {row.name: row for row in mirror.blind}
    for row in mirror.rows:
        spelt, aimed = _spelling(row.name), row.name in TARGET_ROWS
        name = Text(row.name.replace("_", " "), style="bold" if aimed else "")
        cells: list[RenderableType] = [
            spelt(row.measured),
            spelt(row.predicted),
            _error(row, aimed),
        ]
        cells += [_error(blind[row.name], aimed)] if blind else []
        table.add_row(name, *cells)
    return table


def _spelling(name: str) -> Callable[[float], str]:
    if "_ms_" in name:
        return ms
    return share if name.startswith("utilisation") else count


def _error(row: Row, is_aimed: bool) -> Text:
    if row.error_pct is None:
        return Text(NONE)
    missed = is_aimed and abs(row.error_pct) > TARGET_PCT
    style = BAD_STYLE if missed else GOOD_STYLE if is_aimed else ""
    return Text(f"{row.error_pct:+.1f}%", style=style)


def _verdict(mirror: Mirror) -> Text:
    aim = f"medians and mean utilisation within {TARGET_PCT:.0f}%"
    if mirror.within_target:
        return Text.assemble(("kept  ", GOOD_STYLE), f"{aim}.")
    far = [
        row.name.replace("_", " ")
        for row in mirror.rows
        if row.name in TARGET_ROWS and (row.error_pct is None or abs(row.error_pct) > TARGET_PCT)
    ]
    return Text.assemble(("not   ", BAD_STYLE), f"{aim}: {', '.join(far)} further off.")
