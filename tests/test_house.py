"""House rules that no other tool checks; the reasons stand in docs/STYLE.md or beside the rule."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = sorted((ROOT / "src" / "aigrid").rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "recipes", "scenarios", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ".toml", ".html"} and path != Path(__file__)
)
LINES_LIMIT = 400
# Names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|home|Users)/")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
# What the command line would pay for at every start.
HEAVY = ("numpy", "torch", "onnxruntime", "onnx", "pydantic", "aiohttp", "fastapi", "numba", "rich")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@pytest.mark.parametrize("path", SOURCE, ids=name_of)
def test_a_source_file_keeps_the_house_rules(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), tree_of(path)
    assert text.count("\n") <= LINES_LIMIT, "too long: one idea a file"
    assert ast.get_docstring(tree), "a module says in a line what it is for"
    assert not swallowed(tree), "an exception is handled, not swallowed"
    assert not empty_names(path, tree), "the name says nothing"
    if "cli" not in path.parts:
        assert not printed(tree), "only the command line prints"


def swallowed(tree: ast.Module) -> list[int]:
    """Lines of `except` blocks that do nothing."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    return [h.lineno for h in handlers if all(isinstance(s, ast.Pass) for s in h.body)]


def printed(tree: ast.Module) -> list[int]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


def empty_names(path: Path, tree: ast.Module) -> set[str]:
    """Modules and public classes that are named after nothing."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    last_words = {name: re.findall(r"[A-Z][a-z]+", name)[-1:] for name in classes}
    empty = {name for name, last in last_words.items() if set(map(str.lower, last)) & EMPTY_NAMES}
    return ({path.stem} & EMPTY_NAMES) | {name for name in empty if not name.startswith("_")}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_a_text_names_no_machine_and_is_finished(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        assert not MACHINE_PATH.search(line), f"{name_of(path)}:{number} names a machine's path"
        assert not UNFINISHED.search(line), f"{name_of(path)}:{number} is not finished"


def test_decisions_are_numbered_once_and_say_why() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in found if path.name != "README.md"]
    assert all(
        re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", p.name) for p in found if p.name != "README.md"
    )
    assert len(set(numbers)) == len(numbers), "two decisions have one number"
    for path in found:
        assert path.read_text(encoding="utf-8").startswith("# "), f"{path.name} has no title"


def test_files_carry_nothing_that_belongs_to_a_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    odd = [
        name
        for name in tracked.stdout.splitlines()
        if "__pycache__" in name or name.endswith((".pyc", ".sqlite", ".onnx", ".safetensors"))
    ]
    assert not odd


def test_the_command_line_starts_without_heavy_modules() -> None:
    code = "import sys, aigrid.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    loaded = set(done.stdout.split())
    assert not loaded & set(HEAVY)
