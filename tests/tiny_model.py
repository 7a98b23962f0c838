"""A real model, made in seconds, for tests of any room that need one."""

from pathlib import Path

import yaml

from aigrid.factory.progress import SilentProgress
from aigrid.factory.recipe import Recipe, parse_recipe
from aigrid.factory.run import MadeModel, make_model

TINY = {
    "name": "tiny",
    "version": "0.0.1",
    "seed": 7,
    "source": {"kind": "files", "validation_fraction": 0.2},
    "tokenizer": {"vocab_size": 320},
    "model": {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "context": 128},
    "training": {"steps": 12, "batch": 4, "warmup_steps": 2, "precision": "fp32", "threads": 1},
}

COLOURS = ("red", "green", "blue", "amber", "white", "black")
PLACES = ("tower", "hub", "factory", "harbour")


def write_tiny_recipe(folder: Path, **changes: object) -> Path:
    """A recipe file of the tiny model; `changes` replace whole sections."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | changes), encoding="utf-8")
    return path


def tiny_recipe(**changes: object) -> Recipe:
    """The tiny recipe; `changes` replace whole sections."""
    return parse_recipe(yaml.safe_dump(TINY | changes), "the tiny recipe")


def write_tiny_text(folder: Path) -> Path:
    """A folder of a dozen short text files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        lines = [f"Lamp {number}", ""]
        for colour in COLOURS:
            place = PLACES[(number + len(colour)) % len(PLACES)]
            lines.append(f"The {colour} lamp {number} shines over the {place} all night.\n")
        (folder / f"lamp-{number:02d}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def make_tiny_model(out: Path) -> MadeModel:
    """Make the tiny model at `out`, with its text beside it; takes about two seconds."""
    text = write_tiny_text(out.with_name(f"{out.name}-text"))
    return make_model(tiny_recipe(), out, text, SilentProgress())
