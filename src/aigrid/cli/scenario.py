"""`aigrid scenario`: check files of one's own, and get some to begin with."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import console, show


@click.group()
def scenario() -> None:
    """Check scenarios of one's own, and get one to begin with."""


@scenario.command()
@click.argument("file", type=Path)
@json_options
@click.pass_context
def check(context: click.Context, setup: Setup, file: Path) -> None:
    """Say what is wrong with a scenario or a table, line by line.

    FILE is a scenario (YAML), a table of sites or radio load (CSV, Parquet), or a trace of requests
    (CSV, Parquet, JSONL); docs/SCENARIOS.md has their columns. Ends with 1 where there is an error.

    \b
    aigrid scenario check mine/example.yaml
    aigrid scenario check sites.csv --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from aigrid.app.scenarios import check as look
    from aigrid.cli.bars import progress_bars

    with progress_bars() as progress:
        found = look(file, progress)
    if setup.as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        context.exit(0 if found.good else 1)
    from aigrid.cli.scenario_view import checked_view

    shown = console()
    for line in checked_view(found):
        shown.print(line, highlight=False, soft_wrap=True)
    context.exit(0 if found.good else 1)


@scenario.command()
@click.argument("folder", type=Path)
@json_options
def template(setup: Setup, folder: Path) -> None:
    """Write a small scenario with a table of each kind into FOLDER: to rehearse, and to change."""
    from aigrid.app.scenarios import template as write

    path = write(folder)
    text = f"wrote {path} and its tables\n\naigrid scenario check {path}\naigrid rehearse {path}"
    show(setup, {"scenario": str(path)}, text)
