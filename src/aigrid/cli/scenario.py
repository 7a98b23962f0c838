"""`aigrid scenario`: check files of one's own, and get some to begin with."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import console, show


@click.group()
def scenario() -> None:
    """Check scenarios of one's own."""


@scenario.command()
@click.argument("file", type=Path)
@json_options
@click.pass_context
def check(context: click.Context, setup: Setup, file: Path) -> None:
    """Say what is wrong with a scenario or a table, line by line.

    FILE is a scenario (YAML), a table of sites or radio load (CSV, Parquet), or a trace (CSV,
    JSONL).
    """
    from aigrid.app.scenarios import check as look

    found = look(file)
    if setup.as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        context.exit(0 if found.good else 1)
    shown = console()
    heard = found.problems
    for word, style, listed, more in (
        ("error", "red", heard.errors, heard.more_errors),
        ("warning", "yellow", heard.warnings, heard.more_warnings),
    ):
        for problem in listed:
            shown.print(f"[{style}]{word}[/]", end=" ", highlight=False)
            text = f"{problem.message}; {problem.next_step}"
            shown.print(text, markup=False, highlight=False, soft_wrap=True)
        if more:
            shown.print(f"and {more:,} further {word}s")
    counts = ", ".join(f"{value:,} {name}" for name, value in found.counts.items())
    verdict = "can be used" if found.good else "cannot be used as it is"
    shown.print(f"{found.what} {file.name} {verdict}" + (f": {counts}" if counts else ""))
    context.exit(0 if found.good else 1)


@scenario.command()
@click.argument("folder", type=Path)
@json_options
def template(setup: Setup, folder: Path) -> None:
    """Write a small scenario with a table of each kind into FOLDER."""
    from aigrid.app.scenarios import template as write

    path = write(folder)
    text = f"{path}\nNext: aigrid scenario check {path}, aigrid rehearse {path}"
    show(setup, {"scenario": str(path)}, text)
