"""`aigrid radio`."""

from __future__ import annotations

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show


@click.group()
def radio() -> None:
    """Rehearse radio load at a tower."""


@radio.command()
@click.argument("site")
@click.argument("load", type=click.FloatRange(0.0, 1.0))
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0.0, 3600.0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="S",
    help="How many seconds.",
)
@grid_options
def load(setup: Setup, site: str, load: float, for_s: float) -> None:
    """Make SITE's radio busy (LOAD 1) or idle (LOAD 0) for a while."""
    from aigrid.live.client import ControlClient

    answer = ControlClient(setup.data).set_radio_load(site, load, for_s)
    show(setup, answer, f"radio load of {site} is {load:.0%} for {for_s:g} s")
