"""A model that is made in seconds: what it says is nonsense, but always the same."""

from __future__ import annotations

from pathlib import Path

import yaml

from aigrid.factory.progress import Progress

RECIPE = {
    "name": "chaos",
    "version": "0.0.1",
    "seed": 7,
    "source": {"kind": "files", "validation_fraction": 0.2},
    "tokenizer": {"vocab_size": 320},
    "model": {"layers": 2, "width": 64, "heads": 2, "kv_heads": 1, "context": 256},
    "training": {"steps": 12, "batch": 4, "warmup_steps": 2, "precision": "fp32", "threads": 1},
}
COLOURS = ("red", "green", "blue", "amber", "white", "black")


def make_tiny(folder: Path, progress: Progress) -> Path:
    """Make it; a model folder.

    Raises:
        ConfigurationError: torch is not installed.
    """
    from aigrid.factory.recipe import parse_recipe
    from aigrid.factory.run import make_model

    text = folder / "text"
    text.mkdir()
    for number in range(12):
        lines = [f"The {colour} lamp {number} shines all night.\n" for colour in COLOURS]
        (text / f"lamp-{number:02d}.txt").write_text("\n".join(lines), encoding="utf-8")
    recipe = parse_recipe(yaml.safe_dump(RECIPE), "the chaos recipe")
    return make_model(recipe, folder / "model", text, progress).path
