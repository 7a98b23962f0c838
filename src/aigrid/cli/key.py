"""`aigrid key`: keys of tenants, shown once."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table

DAY_S = 86400.0
ROLES = ("consumer", "publisher", "operator")


@click.group()
def key() -> None:
    """Make, list, rotate and revoke keys. A key is shown once and kept as a digest."""


@key.command()
@click.argument("tenant")
@click.option("--role", type=click.Choice(ROLES), default="consumer", show_default=True)
@click.option(
    "--days", type=click.FloatRange(0.0, 3650.0, min_open=True), help="It stands so long."
)
@click.option("--label", default="", metavar="TEXT", help="What it is for.")
@grid_options
def create(setup: Setup, tenant: str, role: str, days: float | None, label: str) -> None:
    """Make a key of TENANT and print it, this once."""
    body: dict[str, Any] = {"tenant": tenant, "role": role, "label": label}
    if days:
        body["for_s"] = days * DAY_S
    made = _call(setup, "POST", "", body)
    show(setup, made, f"{made['key']}\n\nkey {made['id']} of {tenant}; it is not shown again")


@key.command("list")
@click.option("--tenant", default="", help="Its keys alone.")
@grid_options
def list_keys(setup: Setup, tenant: str) -> None:
    """List keys by their first characters."""
    rows = _call(setup, "GET", f"?tenant={quote(tenant, safe='')}" if tenant else "")
    head = ["id", "tenant", "role", "key", "made", "state", "label"]
    show(setup, rows, table(head, [_row(row) for row in rows]))


@key.command()
@click.argument("key_id")
@grid_options
def revoke(setup: Setup, key_id: str) -> None:
    """Let key KEY_ID open nothing from now on."""
    answer = _call(setup, "DELETE", f"/{quote(key_id, safe='')}")
    show(setup, answer, f"key {key_id} is revoked")


@key.command()
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0.0, 90 * 24.0),
    default=24.0,
    show_default=True,
    help="The old key stands so long yet.",
)
@grid_options
def rotate(setup: Setup, key_id: str, overlap_hours: float) -> None:
    """Make a key in the place of KEY_ID and print it, this once."""
    body = {"overlap_s": overlap_hours * 3600.0}
    made = _call(setup, "POST", f"/{quote(key_id, safe='')}/rotate", body)
    until = _moment(made["replaces"]["expires_at_s"])
    said = f"key {made['id']}; it is not shown again\nkey {key_id} stands until {until}"
    show(setup, made, f"{made['key']}\n\n{said}")


def _call(setup: Setup, method: str, rest: str, body: Any = None) -> Any:
    from aigrid.live.client import ControlClient

    return ControlClient(setup.data).call(method, f"/control/v1/keys{rest}", body)


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["id"],
        row["tenant"],
        row["role"],
        row["shown"] + "...",
        _moment(row["created_at_s"]),
        _state(row),
        row["label"],
    ]


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at_s"]:
        return "revoked"
    if not row["expires_at_s"]:
        return "stands"
    if row["expires_at_s"] <= time.time():
        return "expired"
    return f"until {_moment(row['expires_at_s'])}"


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))
