"""The file tree of docs/ARCHITECTURE.md against the files."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
LINE = re.compile(r"^( *)(\S+)(?:  +(\S.*))?$")
SKIPPED = {"__pycache__", "node_modules"}


def tree() -> dict[str, str]:
    """Path to comment, in the order of the page."""
    text = re.search(r"```tree\n(.*?)```", PAGE, re.DOTALL).group(1)
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent, name, comment = LINE.match(line).groups()
        above = [(depth, part) for depth, part in above if depth < len(indent)]
        path = "".join(part for _, part in above) + name
        found[path] = comment or ""
        if name.endswith("/"):
            above.append((len(indent), name))
    return found


def folders(parent: Path) -> set[str]:
    """Folders that hold files, as the tree spells them."""
    return {
        f"{path.relative_to(ROOT)}/"
        for path in parent.iterdir()
        if path.is_dir() and path.name not in SKIPPED and any(path.rglob("*.py"))
    }


def test_every_path_of_the_tree_exists_and_has_a_comment() -> None:
    for path, comment in tree().items():
        assert (ROOT / path).exists(), path
        assert (ROOT / path).is_dir() == path.endswith("/"), path
        assert comment or path in ("docs/", "src/aigrid/"), path


def test_every_room_is_in_the_tree() -> None:
    assert folders(ROOT / "src" / "aigrid") <= set(tree())


def test_every_folder_of_tests_is_a_room_or_in_the_tree() -> None:
    rooms = {path.replace("src/aigrid/", "tests/") for path in folders(ROOT / "src" / "aigrid")}
    assert folders(ROOT / "tests") <= rooms | set(tree())


def test_every_benchmark_is_in_the_tree() -> None:
    modules = {f"benchmarks/{p.name}" for p in (ROOT / "benchmarks").glob("*.py")}
    assert modules - {"benchmarks/__init__.py"} <= set(tree())


def test_every_decision_is_numbered_once() -> None:
    numbers = [p.name[:4] for p in (ROOT / "docs" / "decisions").glob("*.md")]
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers)
