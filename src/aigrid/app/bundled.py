"""Recipes and scenarios that come with aigrid, found in a checkout and in a wheel alike."""

from __future__ import annotations

from pathlib import Path

from aigrid.app.origin import checkout_root
from aigrid.core.errors import NotFoundError

KINDS = ("recipes", "scenarios")
FIRST_RECIPE = "recipes/first-light.yaml"


def bundled_folder(kind: str) -> Path:
    """Where the files of a kind lie: beside `src` in a checkout, else within the package."""
    root = checkout_root()
    inside = Path(__file__).resolve().parent / "bundled" / kind
    return root / kind if root is not None else inside


def find_bundled(kind: str, given: str | Path) -> Path:
    """The file that a person names: a path on disk, else the bundled file of that name.

    Args:
        kind: `recipes` or `scenarios`.
        given: e.g. `my/own.yaml`, `recipes/first-light.yaml` or `first-light`.

    Raises:
        NotFoundError: neither.
    """
    path = Path(given)
    if path.exists():
        return path
    folder = bundled_folder(kind)
    if path.parent in (Path(), Path(kind)):
        for name in (path.name, f"{path.name}.yaml"):
            if (folder / name).is_file():
                return folder / name
    known = ", ".join(f"{kind}/{p.name}" for p in sorted(folder.glob("*.yaml")))
    raise NotFoundError(
        f"no file {str(given)!r} here, and none of that name comes with aigrid",
        next_step=f"give a path, or one of: {known}",
    )
