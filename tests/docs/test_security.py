"""Every threat has a row in docs/SECURITY.md, and every row a test."""

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


def test_every_row_names_a_test() -> None:
    """That the tests are there, `test_pages.py` checks."""
    for row in ROWS:
        assert re.search(r"`(tests/[\w/]+\.py|::test_\w+)", row), row[:60]
    assert len(ROWS) > 25


def test_no_threat_of_the_list_is_missing() -> None:
    first = [row.split("|")[1] for row in ROWS]
    for threat in THREATS:
        assert any(threat in row for row in first), threat
