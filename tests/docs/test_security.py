"""Every test that docs/SECURITY.md names is there, and every threat of the list names one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
THREATS = (
    "forged site",
    "replayed",
    "stolen join token",
    "tampered package",
    "another's usage",
    "key guessing",
    "header injection",
    "request smuggling",
    "decompression bombs",
    "JSON bombs",
    "upstream URL to a private address",
    "path traversal in package layers",
    "log injection",
    "secrets and content in logs",
)


def named(row: str) -> list[tuple[str, str]]:
    """File and function of each test in a row; `::name` stands in the file before it."""
    found, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", row):
        file = path or file
        if path or name:
            found.append((file, name))
    return found


def test_every_row_names_tests_that_are_there() -> None:
    file = ""
    for row in ROWS:
        tests = named(row)
        assert tests, f"no test: {row[:60]}"
        for path, name in tests:
            file = path or file
            text = (ROOT / file).read_text()
            assert not name or re.search(rf"def {name}\b", text), f"{file} has no {name}"


def test_no_threat_of_the_list_is_missing() -> None:
    first = [row.split("|")[1] for row in ROWS]
    for threat in THREATS:
        assert any(threat in row for row in first), threat
