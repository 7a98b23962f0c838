"""Printing: JSON for programs, text for people, colours only where they are seen."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup

if TYPE_CHECKING:
    from rich.console import Console


def show(setup: Setup, value: Any, text: str) -> None:
    """Print `value` as JSON where that was asked for, else `text`."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if setup.as_json else text)


def note(text: str, **style: Any) -> None:
    """A line for the person who waits; on stderr, so that output stays clean to pipe."""
    click.secho(text, err=True, color=wants_colour(sys.stderr), **style)


def wants_colour(stream: Any) -> bool:
    """Whether a stream is a terminal that shows colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())


def console(*, stderr: bool = False) -> Console:
    """A rich console; imported here because most commands do without it."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks
    piped_width = None if stream.isatty() else int(os.environ.get("COLUMNS", "120"))
    return Console(
        stderr=stderr, highlight=False, width=piped_width, no_color=not wants_colour(stream)
    )
