"""From a recipe to a signed package in the store."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.app.bundled import find_bundled
from aigrid.app.origin import code_commit
from aigrid.core.errors import ConfigurationError
from aigrid.factory.progress import Progress

if TYPE_CHECKING:
    from aigrid.factory.embedder import ImportTerms
    from aigrid.factory.run import MadeModel
    from aigrid.store.catalogue import PackageRecord

PUBLISHER = "local"
COMPARED_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """What the factory shall make.

    Attributes:
        recipe: a recipe file, or the name of one that comes with aigrid.
        text: a file or folder to learn from; None for the recipe's own source.
        out: the model folder; None for one of the recipe's name under `models`.
        models: where model folders go by default.
    """

    recipe: str | Path
    text: Path | None
    out: Path | None
    models: Path


def make(order: Order, progress: Progress) -> MadeModel:
    """Run the factory.

    Raises:
        ConfigurationError: the recipe cannot be used, or torch is not installed.
        AigridError: see `factory.run.make_model`.
    """
    from aigrid.factory.recipe import load_recipe

    recipe = load_recipe(find_bundled("recipes", order.recipe))
    _check_torch()
    from aigrid.factory.run import make_model

    out = order.out or order.models / recipe.name
    return make_model(recipe, out, order.text, progress, commit=code_commit())


def import_checkpoint(
    checkpoint: Path, terms: ImportTerms, text: Path | None, out: Path, progress: Progress
) -> MadeModel:
    """Bring a sentence-transformers checkpoint into a model folder.

    Args:
        checkpoint: its folder.
        terms: what the service is called, costs and so on.
        text: a file or folder, to compare the export with the checkpoint by; None for the
            documentation of Python's standard library.
        out: the model folder.
        progress: hears how far it is.

    Raises:
        ConfigurationError: torch is not installed.
        AigridError: see `factory.embedder.import_embedder`.
    """
    _check_torch()
    from aigrid.factory.embedder import import_embedder
    from aigrid.factory.files import read_files
    from aigrid.factory.pydocs import python_docs

    if text is None:
        corpus = python_docs(progress, COMPARED_BYTES)
    else:
        corpus = read_files(text, progress, COMPARED_BYTES)
    return import_embedder(checkpoint, out, terms, corpus.documents, progress, commit=code_commit())


def publish(store: Path, model: Path, to: str = "") -> PackageRecord:
    """Pack, sign and list a model folder; push it to an OCI registry as well where one is named.

    Raises:
        AigridError: see `store.store.Store.publish`.
    """
    from aigrid.store.store import Store

    return Store(store).publish(model, PUBLISHER, time.time(), to)


def describe_made(made: MadeModel) -> dict[str, Any]:
    """A made model as JSON shows it."""
    return {
        "path": str(made.path),
        "service": asdict(made.service),
        "evaluation": made.evaluation,
        "seconds": round(made.seconds, 1),
    }


def _check_torch() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "safetensors") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the factory needs {', '.join(missing)}, and this Python has not",
            next_step="pip install 'aigrid[factory]'",
        )
