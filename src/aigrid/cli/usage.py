"""`aigrid usage`: what was used in a month."""

from __future__ import annotations

import csv
import io
from typing import Any
from urllib.parse import quote

import click

from aigrid.cli.amounts import shown_amount
from aigrid.cli.months import Month
from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table

COLUMNS = ("tenant", "service", "version", "requests", "prompt_tokens", "completion_tokens",
           "amount_micro", "currency")  # fmt: skip


@click.command()
@click.option("--tenant", default="", help="Its usage alone.")
@click.option("--month", type=Month(), help="YYYY-MM, UTC (default: this month).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@grid_options
def usage(setup: Setup, tenant: str, month: str | None, as_csv: bool) -> None:
    """Show what was used in a month, by tenant and service.

    Gateways report within seconds.
    """
    from aigrid.live.client import ControlClient

    path = f"/control/v1/usage?tenant={quote(tenant, safe='')}&month={month or ''}"
    found = ControlClient(setup.data).call("GET", path)
    if as_csv:
        click.echo(_csv(found["rows"]), nl=False)
        return
    head = ["tenant", "service", "requests", "prompt tokens", "answer tokens", "amount"]
    text = table(head, [_row(row) for row in found["rows"]])
    show(setup, found, f"{found['month']} (UTC)\n\n{text}" if found["rows"] else "nothing was used")


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["tenant"],
        f"{row['service']}:{row['version']}",
        f"{row['requests']:,}",
        f"{row['prompt_tokens']:,}",
        f"{row['completion_tokens']:,}",
        shown_amount(row["amount_micro"], row["currency"]),
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
