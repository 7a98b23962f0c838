"""`aigrid status`, `sites` and `routes`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import console, show
from aigrid.core.errors import AigridError
from aigrid.live.client import ControlClient

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_PERIOD_S = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Draw it again every second until Ctrl-C.")
@grid_options
def status(setup: Setup, watch: bool) -> None:
    """Show what runs where: radio, requests, tokens.

    Per site: its share for AI, radio load, missed slots, what it serves, and how fast.
    """
    client = ControlClient(setup.data)
    if setup.as_json:
        _print_json(setup, client, watch)
    elif watch:
        _watch(client)
    else:
        page = console()
        page.print(_view(client.status(), page.width))


def _print_json(setup: Setup, client: ControlClient, watch: bool) -> None:
    while True:
        show(setup, client.status(), "")
        if not watch:
            return
        time.sleep(WATCH_PERIOD_S)


def _watch(client: ControlClient) -> None:
    from rich.live import Live

    page = console()
    first = _view(client.status(), page.width)
    with Live(first, console=page, auto_refresh=False, screen=False) as live:
        try:
            while True:
                time.sleep(WATCH_PERIOD_S)
                live.update(_current(client, page.width), refresh=True)
        except KeyboardInterrupt:
            return


def _current(client: ControlClient, columns: int) -> RenderableType:
    """What can be shown now; a grid that restarts is waited for."""
    try:
        return _view(client.status(), columns)
    except AigridError as error:
        return str(error)


def _view(status: dict[str, Any], columns: int) -> RenderableType:
    from aigrid.cli.status_view import status_view

    return status_view(status, columns)


@click.command()
@grid_options
def sites(setup: Setup) -> None:
    """List the sites: kind, region, process, address, and the version of aigrid that each runs."""
    rows = ControlClient(setup.data).sites()
    if setup.as_json:
        show(setup, rows, "")
        return
    from aigrid.cli.status_view import plain_table, status_word

    plain = ("name", "kind", "region", "parent")
    table = plain_table(*plain, "status", "pid", "restarts", "aigrid", "url")
    for row in rows:
        known = (row["pid"], row["restarts"], row["aigrid_version"], row["url"])
        told = (*(row[name] for name in plain), status_word(row), *known)
        table.add_row(*map(str, told))
    console().print(table)


@click.command()
@grid_options
def routes(setup: Setup) -> None:
    """Show the routing table in force: per origin and service, where requests go."""
    table_in_force = ControlClient(setup.data).routes()
    if setup.as_json:
        show(setup, table_in_force, "")
        return
    from aigrid.cli.status_view import plain_table

    table = plain_table("origin", "service", "candidates, in order (weight)")
    for row in table_in_force["routes"]:
        named = [f"{c['site']} ({c['weight']:.2f})" for c in row["candidates"]]
        table.add_row(row["origin"], row["service"], ", ".join(named) or "none")
    out = console()
    out.print(f"routing table version {table_in_force['version']}")
    out.print(table)
