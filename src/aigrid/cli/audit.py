"""`aigrid audit`: what was done and where requests ran, as a chain that shows every change."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table


@click.group()
def audit() -> None:
    """Show and check what was done, and where requests ran."""


@audit.command("list")
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True)
@grid_options
def list_lines(setup: Setup, last: int) -> None:
    """List the last lines of the log."""
    rows = _get(setup, f"?last={last}")
    show(setup, rows, table(["line", "at (UTC)", "kind", "who", "what"], [_row(r) for r in rows]))


@audit.command()
@grid_options
def verify(setup: Setup) -> None:
    """Check every line of the log; one that was edited, removed or moved is named."""
    found = _get(setup, "/verify")
    head = found["head"]
    said = (
        f"{found['lines']} lines, each bound to the one before; the last has hash\n{head['hash']}"
    )
    show(setup, found, said)


def _get(setup: Setup, rest: str) -> Any:
    from aigrid.live.client import ControlClient

    return ControlClient(setup.data).call("GET", f"/control/v1/audit{rest}")


def _row(row: dict[str, Any]) -> list[str]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["at_s"]))
    who = " ".join(str(row[part]) for part in ("tenant", "role") if row.get(part))
    hidden = ("seq", "at_s", "kind", "prev", "hash", "tenant", "role", "key")
    what = {name: value for name, value in row.items() if name not in hidden}
    if row["kind"] == "call":
        status = what.pop("status")
        said = [what.pop("method"), what.pop("path"), f"refused {status}" if status else ""]
        what.pop("action")
        said += [json.dumps(value) for value in what.values()]
        return [str(row["seq"]), at, "call", who, " ".join(part for part in said if part)]
    return [str(row["seq"]), at, row["kind"], who, json.dumps(what)]
