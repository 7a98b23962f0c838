"""`aigrid tenant`: who may use the grid, how much, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from aigrid.cli.amounts import Amount, shown_amount
from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show
from aigrid.cli.rows import table

PRIORITIES = ("high", "standard", "batch")
LIMIT = click.IntRange(-1)


@click.group()
def tenant() -> None:
    """Say who may use the grid, how much, and where."""


def _terms(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `create` and `set` share."""
    for option in reversed(
        [
            click.option("--class", "priority", type=click.Choice(PRIORITIES),
                         help="What goes first under overload (default: standard)."),
            click.option("--weight", type=click.IntRange(1, 1000),
                         help="Share against others of the same class."),
            click.option("--requests-per-minute", "requests_per_min", type=LIMIT, metavar="N",
                         help="-1: no limit."),
            click.option("--tokens-per-minute", "tokens_per_min", type=LIMIT, metavar="N",
                         help="Of prompts and answers; -1: no limit."),
            click.option("--streams", type=LIMIT, metavar="N",
                         help="Streamed answers open at once; -1: no limit."),
            click.option("--budget", "budget_micro", type=Amount(none=True), metavar="AMOUNT",
                         help="Of a month (UTC) in its currency, or `none`."),
            click.option("--currency", metavar="CODE", help="ISO 4217 (default: USD)."),
            click.option("--region", "regions", multiple=True, metavar="REGION",
                         help="Its requests stay there; may be repeated; `any` lifts the rule."),
            click.option("--operator", "operators", multiple=True, metavar="NAME",
                         help="Of sites that may answer (`own`: this grid's); as --region."),
            click.option("--revenue-share", "share_percent", type=click.FloatRange(0.0, 100.0),
                         metavar="PERCENT", help="Of what its packages earn (default: 70)."),
            click.option("--publishes", multiple=True, metavar="PACKAGE",
                         help="Its own package: it may deploy it and earns its share."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def _body(given: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in given.items() if value not in (None, ())}
    for rule in ("regions", "operators"):
        if rule in body:
            body[rule] = [name for name in body[rule] if name != "any"]
    if "publishes" in body:
        body["publishes"] = list(body["publishes"])
    if "share_percent" in body:
        body["share_bp"] = round(body.pop("share_percent") * 100)
    return body


@tenant.command()
@click.argument("name")
@_terms
@grid_options
def create(setup: Setup, name: str, **terms: Any) -> None:
    """Make tenant NAME; then give it a key: aigrid key create NAME."""
    from aigrid.live.client import ControlClient

    made = ControlClient(setup.data).call(
        "POST", "/control/v1/tenants", {"name": name} | _body(terms)
    )
    show(setup, made, f"tenant {name} is there\nNext: aigrid key create {name}")


@tenant.command("set")
@click.argument("name")
@_terms
@grid_options
def change(setup: Setup, name: str, **terms: Any) -> None:
    """Change the terms of tenant NAME; what is not named stays."""
    _call(setup, "PATCH", name, "", _body(terms), "has new terms")


@tenant.command()
@click.argument("name")
@grid_options
def suspend(setup: Setup, name: str) -> None:
    """Refuse every request and call of tenant NAME."""
    _call(setup, "POST", name, "/suspend", None, "is suspended")


@tenant.command()
@click.argument("name")
@grid_options
def resume(setup: Setup, name: str) -> None:
    """Let the requests of tenant NAME pass again."""
    _call(setup, "POST", name, "/resume", None, "goes on")


def _call(setup: Setup, method: str, name: str, verb: str, body: Any, said: str) -> None:
    from urllib.parse import quote

    from aigrid.live.client import ControlClient

    path = f"/control/v1/tenants/{quote(name, safe='')}{verb}"
    answer = ControlClient(setup.data).call(method, path, body)
    show(setup, answer, f"tenant {name} {said}")


@tenant.command("list")
@grid_options
def list_tenants(setup: Setup) -> None:
    """List the tenants and their terms."""
    from aigrid.live.client import ControlClient

    rows = ControlClient(setup.data).call("GET", "/control/v1/tenants")
    head = ["tenant", "class", "weight", "requests/min", "tokens/min", "streams", "budget",
            "where", ""]  # fmt: skip
    show(setup, rows, table(head, [_row(row) for row in rows]))


def _row(row: dict[str, Any]) -> list[str]:
    quota, rule = row["quota"], row["sovereignty"]
    where = [f"{what}: {', '.join(rule[what])}" for what in ("regions", "operators") if rule[what]]
    budget = quota["budget_micro"]
    return [
        row["name"],
        row["priority"],
        str(row["weight"]),
        *(_limit(quota[name]) for name in ("requests_per_min", "tokens_per_min", "streams")),
        "-" if budget < 0 else shown_amount(budget, row["currency"]),
        "; ".join(where) or "anywhere",
        "suspended" if row["suspended"] else "",
    ]


def _limit(value: int) -> str:
    return "-" if value < 0 else f"{value:,}"
