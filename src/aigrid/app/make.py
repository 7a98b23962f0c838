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
    from aigrid.factory.run import MadeModel
    from aigrid.store.catalogue import PackageRecord

PUBLISHER = "local"


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
