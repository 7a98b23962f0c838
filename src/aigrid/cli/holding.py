"""`aigrid cordon`, `uncordon` and `drain`: take a site out of service, and back."""

from __future__ import annotations

import time
from typing import Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import UnavailableError

LOOK_S = 0.25


@click.command()
@click.argument("site")
@grid_options
def cordon(setup: Setup, site: str) -> None:
    """Let nothing new come to a site.

    What it serves it goes on serving.
    """
    from aigrid.live.client import ControlClient

    show(setup, ControlClient(setup.data).hold(site, "cordoned"), f"site {site} is cordoned")


@click.command()
@click.argument("site")
@grid_options
def uncordon(setup: Setup, site: str) -> None:
    """Let a cordoned or drained site go."""
    from aigrid.live.client import ControlClient

    show(setup, ControlClient(setup.data).hold(site, "free"), f"site {site} is free again")


@click.command()
@click.argument("site")
@click.option("--force", is_flag=True, help="Even where a service is served nowhere else.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.0, 3600.0),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Until the last answer has ended.",
)
@grid_options
def drain(setup: Setup, site: str, force: bool, wait_s: float) -> None:
    """Serve elsewhere what a site serves.

    Returns when its answers have ended.
    """
    from aigrid.live.client import ControlClient

    client = ControlClient(setup.data)
    held = client.hold(site, "draining", force=force)
    note(f"waiting until {site} has ended its answers")
    deadline_s = time.monotonic() + wait_s
    while left := _left(client, site):
        if time.monotonic() > deadline_s:
            raise UnavailableError(
                f"site {site} still has {left} after {wait_s:g} s",
                next_step="wait longer with --wait S; it goes on draining",
            )
        time.sleep(LOOK_S)
    show(setup, held, f"site {site} is drained; `aigrid uncordon {site}` lets it serve again")


def _left(client: Any, site: str) -> str:
    """What a site has to end still; empty for nothing, or where it is gone."""
    row = next((row for row in client.sites() if row["name"] == site), None)
    if row is None or row["status"] != "up":
        return ""
    if row["replicas"] or row["ending"] is None:
        return "replicas to stop"
    return f"{row['ending']} answers to end" if row["ending"] else ""
