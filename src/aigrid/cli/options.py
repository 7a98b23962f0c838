"""Options that every command takes, and what they say: `--data` and `--json`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(slots=True)
class Setup:
    """What the options before and behind a command's name say.

    Attributes:
        chosen: the data directory as it was given; None for the default.
        as_json: print JSON for programs instead of text for people.
    """

    chosen: str | None = None
    as_json: bool = False

    @property
    def data(self) -> Path:
        """The data directory, absolute."""
        return Path(self.chosen).expanduser().absolute() if self.chosen else default_data()


def default_data() -> Path:
    """`$AIGRID_DATA`, else `aigrid` under the XDG data home (XDG base directory specification)."""
    named = os.environ.get("AIGRID_DATA")
    if named:
        return Path(named).expanduser().absolute()
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser().absolute() / "aigrid"


def _keep_data(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Setup).chosen = value


def _keep_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Setup).as_json = True


data_option = click.option(
    "--data",
    metavar="DIR",
    expose_value=False,
    is_eager=True,
    callback=_keep_data,
    help="Data directory of the grid (default: $AIGRID_DATA, else ~/.local/share/aigrid).",
)
json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_keep_json,
    help="Print JSON.",
)


def grid_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--data` and `--json`, and the `Setup` as its first argument."""
    return data_option(json_option(click.make_pass_decorator(Setup, ensure=True)(command)))


def json_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Like `grid_options` for commands whose own `--data` means text to learn from."""
    return json_option(click.make_pass_decorator(Setup, ensure=True)(command))
