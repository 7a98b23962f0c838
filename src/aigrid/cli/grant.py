"""`aigrid grant`: free credits with a purpose and an end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import click

from aigrid.cli.amounts import Amount, shown_amount
from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table

PURPOSES = ("research", "student", "startup")


@click.group()
def grant() -> None:
    """Give free credits to researchers, students and startups."""


@grant.command()
@click.argument("tenant")
@click.argument("amount", type=Amount())
@click.option("--purpose", type=click.Choice(PURPOSES), required=True)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="Last day (UTC) on which they count.",
)
@grid_options
def create(setup: Setup, tenant: str, amount: int, purpose: str, until: datetime) -> None:
    """Give TENANT free credits of AMOUNT in its currency, from now on."""
    end = until.replace(tzinfo=UTC) + timedelta(days=1)
    body = {
        "tenant": tenant,
        "purpose": purpose,
        "amount_micro": amount,
        "ends_at_s": end.timestamp(),
    }
    given = _call(setup, "POST", "", body)
    said = shown_amount(given["amount_micro"], given["currency"])
    show(setup, given, f"{tenant} has {said} for {purpose} until {_day(given['ends_at_s'])}")


@grant.command("list")
@click.option("--tenant", default="", help="Its grants alone.")
@grid_options
def list_grants(setup: Setup, tenant: str) -> None:
    """List grants."""
    rows = _call(setup, "GET", f"?tenant={quote(tenant, safe='')}")
    head = ["id", "tenant", "purpose", "amount", "from", "last day"]
    show(setup, rows, table(head, [_row(row) for row in rows]))


def _call(setup: Setup, method: str, rest: str, body: Any = None) -> Any:
    from aigrid.live.client import ControlClient

    return ControlClient(setup.data).call(method, f"/control/v1/grants{rest}", body)


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["id"],
        row["tenant"],
        row["purpose"],
        shown_amount(row["amount_micro"], row["currency"]),
        time.strftime("%Y-%m-%d", time.gmtime(row["starts_at_s"])),
        _day(row["ends_at_s"]),
    ]


def _day(ends_at_s: float) -> str:
    """The last day before an end at midnight."""
    return time.strftime("%Y-%m-%d", time.gmtime(ends_at_s - 1.0))
