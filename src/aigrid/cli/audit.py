"""`aigrid audit`: what was done and where requests ran, as a chain that shows every change."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table
from aigrid.core.errors import NotFoundError


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
@click.option("--log", type=click.Path(path_type=Path), help="A copy of the folder `audit`.")
@grid_options
def verify(setup: Setup, log: Path | None) -> None:
    """Check every line of the log; one that was edited, removed or moved is named.

    Keep the hash that it prints elsewhere: whoever can write the data directory could write the
    whole log anew. A copy of the log is checked without a grid.
    """
    found = _get(setup, "/verify") if log is None else _check(log)
    head = found["head"]
    said = (
        f"{found['lines']} lines, each bound to the one before; the last has hash\n{head['hash']}"
    )
    show(setup, found, said)


@audit.command()
@click.argument("request_id")
@grid_options
def prove(setup: Setup, request_id: str) -> None:
    """Show where request REQUEST_ID ran and under which rule, and that the log says so.

    The id is the header `x-request-id` of its answer; gateways report within seconds.
    """
    from urllib.parse import quote

    proof = _get(setup, f"/requests/{quote(request_id, safe='')}")
    show(setup, proof, _proof(proof))


def _proof(proof: dict[str, Any]) -> str:
    record, line, chain = proof["record"], proof["line"], proof["chain"]
    places = [f"{p['site']} (region {p['region']}, operator {p['operator']})"
              for p in record["places"]]  # fmt: skip
    rows = [
        ["request", proof["request_id"]],
        ["tenant", f"{record['tenant']}, key {record['key']}"],
        ["service", f"{record['service']} {record['package']}".rstrip()],
        ["rule", record["rule"]],
        ["ran at", ", then ".join(places) or "no site: it was refused"],
        ["ended", f"{record['ended']}, status {record['status']}, {_time(record['at_s'])}"],
        ["tokens", f"{record['prompt_tokens']} in, {record['completion_tokens']} out"],
        ["line", f"{line['seq']} of {chain['lines']}, hash {line['hash']}"],
        ["verified", f"every line up to {chain['lines']}, hash {chain['head']}"],
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def _check(log: Path) -> dict[str, Any]:
    from aigrid.live.audit import checked

    head, count = {"seq": 0, "hash": ""}, 0
    for line in checked(log):
        head, count = {"seq": line["seq"], "hash": line["hash"]}, count + 1
    if not count:
        raise NotFoundError(f"{log} holds no audit log", next_step="name a copy of DATA/audit")
    return {"lines": count, "head": head}


def _get(setup: Setup, rest: str) -> Any:
    from aigrid.live.client import ControlClient

    return ControlClient(setup.data).call("GET", f"/control/v1/audit{rest}")


def _row(row: dict[str, Any]) -> list[str]:
    at = _time(row["at_s"])
    who = " ".join(str(row[part]) for part in ("tenant", "role") if row.get(part))
    hidden = ("seq", "at_s", "kind", "prev", "hash", "tenant", "role", "key")
    what = {name: value for name, value in row.items() if name not in hidden}
    if row["kind"] == "call":
        status = what.pop("status")
        said = [what.pop("method"), what.pop("path"), f"refused {status}" if status else ""]
        what.pop("action")
        said += [json.dumps(value) for value in what.values()]
        return [str(row["seq"]), at, "call", who, " ".join(part for part in said if part)]
    if row["kind"] == "request":
        used = row["usage"]
        ran = ", ".join(place["site"] for place in used["places"]) or "nowhere"
        where = f"{row['request_id']} {used['service']} at {ran} ({used['rule']}), {used['ended']}"
        return [str(row["seq"]), at, "request", used["tenant"], where]
    return [str(row["seq"]), at, row["kind"], who, json.dumps(what)]


def _time(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
