"""`aigrid factory`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import show
from aigrid.core.errors import ConfigurationError

if TYPE_CHECKING:
    from aigrid.factory.run import MadeModel


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
    _show_made(setup, made, publish=publish)


@factory.command("import")
@click.argument("checkpoint", type=Path)
@click.option("--name", required=True, metavar="NAME[:VERSION]", help="What to call the service.")
@click.option(
    "--form",
    type=click.Choice(["fp32", "int8", "int8-dynamic"]),
    default="fp32",
    show_default=True,
    help="Of its weights: as they are; smaller; or smaller, faster and less exact.",
)
@click.option(
    "--dimensions", metavar="N,N,...", default="", help="Widths that its vectors may be cut to."
)
@click.option("--licence", metavar="SPDX", default="", help="Of the checkpoint.")
@click.option(
    "--price",
    metavar="AMOUNT",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Per million tokens read.",
)
@click.option("--currency", metavar="CODE", default="USD", show_default=True, help="Of --price.")
@click.option("--data", "text", metavar="FILE_OR_DIR", type=Path, help="Text to compare by.")
@click.option("--out", metavar="DIR", type=Path, help="The model folder (default: in the grid's).")
@click.option("--publish", is_flag=True, help="Also publish it to the store, signed.")
@json_options
def import_(
    setup: Setup,
    checkpoint: Path,
    name: str,
    form: str,
    dimensions: str,
    licence: str,
    price: float,
    currency: str,
    text: Path | None,
    out: Path | None,
    publish: bool,
) -> None:
    """Bring an embedding model: CHECKPOINT is a folder of sentence-transformers files.

    Its export is compared with it text by text; the evaluation card says how well both agree.
    """
    from aigrid.app import make
    from aigrid.app.first_model import models_folder
    from aigrid.cli.bars import progress_bars
    from aigrid.core.package import Price
    from aigrid.factory.embedder import ImportTerms
    from aigrid.live.paths import GridPaths

    base, _, version = name.partition(":")
    terms = ImportTerms(
        name=base,
        version=version or "1.0.0",
        form=form,
        dimensions=_widths(dimensions),
        licence=licence,
        price=Price(currency, price),
    )
    out = out or models_folder(GridPaths(setup.data)) / base
    with progress_bars() as progress:
        made = make.import_checkpoint(checkpoint, terms, text, out, progress)
    _show_made(setup, made, publish=publish)


def _widths(given: str) -> tuple[int, ...]:
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigurationError(
            f"--dimensions is {given!r}", next_step="give numbers, e.g. --dimensions 128,256"
        )
    return tuple(map(int, parts))


def _show_made(setup: Setup, made: MadeModel, *, publish: bool) -> None:
    from aigrid.app import make
    from aigrid.live.paths import GridPaths

    told: dict[str, Any] = make.describe_made(made)
    lines = [_made_line(told), f"folder     {made.path}"]
    if "cosine" in made.evaluation:
        cosine = made.evaluation["cosine"]
        lines.append(
            f"agrees     cosine {cosine['mean']:.4f} in the mean, {cosine['least']:.4f} at least,"
            f" over {made.evaluation['texts']} texts"
        )
    if publish:
        record = make.publish(GridPaths(setup.data).store, made.path)
        told["published"] = {"ref": record.ref, "digest": record.digest}
        lines.append(f"published  {record.ref} {record.digest}")
    else:
        lines.append(f"Next: aigrid store publish {made.path}")
    show(setup, told, "\n".join(lines))


def _made_line(told: dict[str, Any]) -> str:
    service = told["service"]
    return f"made {service['name']}:{service['version']} in {told['seconds']:.0f} s"
