from pathlib import Path

import pytest
from tests.tiny_model import write_tiny_recipe

from aigrid.core.errors import ConfigurationError
from aigrid.factory.recipe import load_recipe, parse_recipe

MINIMAL = "name: a\ntraining: {steps: 100}\n"
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_recipes_that_travel_with_the_package_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_digest_ignores_comments_order_and_defaults_but_no_value() -> None:
    plain = parse_recipe(MINIMAL, "x").digest()
    spelt = parse_recipe("# hello\ntraining: {batch: 8, steps: 100}\nseed: 0\nname: a\n", "y")
    assert spelt.digest() == plain
    assert parse_recipe(MINIMAL + "seed: 1\n", "x").digest() != plain


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: a\ntraining: {steps: 100}\ncolour: red\n", ["unknown key colour", "known keys"]),
        ("name: a\ntraining: {steps: 100, stepz: 3}\n", ["unknown key training.stepz", "steps"]),
        ("name: a\ntraining: {steps: many}\n", ["training.steps", "'many'", "integer"]),
        ("name: a\ntraining: {steps: 0}\n", ["training.steps is 0", "greater than or equal to 1"]),
        ("name: a\n", ["training is missing"]),
        ("name: Big Name\ntraining: {steps: 100}\n", ["name is 'Big Name'"]),
        ("name: a\ntraining: {steps: 10}\n", ["warmup_steps 20 is not below steps 10"]),
        (MINIMAL + "model: {width: 100}\n", ["model", "width 100 is not a multiple of 32"]),
        (MINIMAL + "model: {heads: 4, kv_heads: 3}\n", ["4 heads cannot share 3 kv_heads"]),
        (MINIMAL + "seed: true\n", ["seed is True"]),
        ("name: [a\n", ["not YAML at line 2"]),
        ("- a\n", ["expected keys and values, got list"]),
        ("", ["expected keys and values"]),
    ],
)
def test_a_broken_recipe_gets_one_line_with_file_key_and_next_step(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert caught.value.next_step
    for part in parts:
        assert part in message


def test_a_missing_a_binary_and_a_huge_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_recipe(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"a" * 100_000)
    with pytest.raises(ConfigurationError, match="at most"):
        load_recipe(tmp_path / "huge.yaml")


def test_a_recipe_file_round_trips(tmp_path: Path) -> None:
    assert load_recipe(write_tiny_recipe(tmp_path)).training.threads == 1
