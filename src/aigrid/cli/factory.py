"""`aigrid factory`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import show


@click.group()
def factory() -> None:
    """Make models from text."""


@factory.command()
@click.argument("recipe")
@click.option("--data", "text", metavar="FILE_OR_DIR", type=Path, help="Text to learn from.")
@click.option("--out", metavar="DIR", type=Path, help="The model folder (default: in the grid's).")
@click.option("--publish", is_flag=True, help="Also publish it to the store, signed.")
@json_options
def run(setup: Setup, recipe: str, text: Path | None, out: Path | None, publish: bool) -> None:
    """Make a model by RECIPE: a file, or the name of a recipe that comes with aigrid.

    Here --data is text to learn from. The grid's own directory goes before the command:
    aigrid --data GRID factory run ...
    """
    from aigrid.app import make
    from aigrid.app.first_model import models_folder
    from aigrid.cli.bars import progress_bars
    from aigrid.live.paths import GridPaths

    paths = GridPaths(setup.data)
    order = make.Order(recipe, text, out, models_folder(paths))
    with progress_bars() as progress:
        made = make.make(order, progress)
    told: dict[str, Any] = make.describe_made(made)
    lines = [_made_line(told), f"folder     {made.path}"]
    if publish:
        record = make.publish(paths.store, made.path)
        told["published"] = {"ref": record.ref, "digest": record.digest}
        lines.append(f"published  {record.ref} {record.digest}")
    else:
        lines.append(f"Next: aigrid store publish {made.path}")
    show(setup, told, "\n".join(lines))


def _made_line(told: dict[str, Any]) -> str:
    service = told["service"]
    return f"made {service['name']}:{service['version']} in {told['seconds']:.0f} s"
