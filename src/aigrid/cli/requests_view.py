"""The table of tails for a terminal, where a rehearsal went request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from aigrid.cli.status_view import plain_table
from aigrid.twin.report.tails import COLUMNS, Row, rows_of, told_of

if TYPE_CHECKING:
    from aigrid.twin.outcome import Rehearsal

HEAD = Row("policy", "service", ())


def requests_view(rehearsal: Rehearsal, columns: int) -> RenderableType:
    """Tails of each policy, over all services and of each.

    Args:
        rehearsal: one of requests.
        columns: width of the terminal; a narrow one gets fewer columns of the table.
    """
    rows = rows_of(rehearsal)
    table = plain_table("policy", "service")
    used = 0
    for column_of, name in zip(table.columns, ("policy", "service"), strict=True):
        column_of.no_wrap = True
        used += 3 + max(map(len, (name, *(getattr(row, name) for row in rows))))
    shown = 0
    for place, column in enumerate(COLUMNS):
        cells = [row.cells[place] for row in rows]
        used += 2 + max(map(len, (column.title, column.unit, *cells)))
        if used > columns:
            break
        table.add_column(Text(f"{column.title} \n{column.unit} "), justify="right", no_wrap=True)
        shown += 1
    before = ""
    for row in rows:
        name = "" if row.policy == before else row.policy
        table.add_row(name, row.service, *(f"{cell} " for cell in row.cells[:shown]))
        before = row.policy
    head = Text("\nrequest by request", style="bold")
    return Group(head, table, Text(told_of(rehearsal), style="dim"))
