"""The model that a new grid starts with."""

from __future__ import annotations

from pathlib import Path

from aigrid.app.make import Order, make, publish
from aigrid.factory.progress import Progress
from aigrid.live.paths import GridPaths


def models_folder(paths: GridPaths) -> Path:
    """Where the factory puts model folders of a grid."""
    return paths.data / "models"


def ensure_package(paths: GridPaths, recipe: str | Path, progress: Progress) -> str:
    """See that the store holds a package; make the recipe's when it holds none.

    Returns:
        The reference of the package to serve first: the oldest of the store.

    Raises:
        AigridError: the recipe cannot be used, or its model cannot be made or stored.
    """
    from aigrid.store.store import Store

    listed = Store(paths.store).list()
    if listed:
        return min(listed, key=lambda entry: entry.published_at_s or 0.0).ref
    made = make(Order(recipe, None, None, models_folder(paths)), progress)
    progress.stage("publishing", 1)
    record = publish(paths.store, made.path)
    progress.advance(1)
    return record.ref
