"""Pages of docs/ that name commands and tests: what they name is there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from aigrid.cli.main import root

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^    (aigrid .*)$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def commands(page: str) -> list[str]:
    return COMMAND.findall((ROOT / "docs" / page).read_text())


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and what is left of them."""
    command: click.Command = root
    while words[:1] == ["--data"]:
        words = words[2:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("line", commands("OPERATE.md") + commands("BILLING.md"))
def test_every_command_of_the_pages_is_one(line: str) -> None:
    command, words = resolve(shlex.split(line)[1:])
    command.make_context(command.name, words, obj=None)


def test_the_operators_page_has_commands() -> None:
    assert len(commands("OPERATE.md")) > 10
    assert len(commands("BILLING.md")) > 5


def test_every_test_of_the_security_page_exists() -> None:
    page, found = "", 0
    for path, name in TEST.findall((ROOT / "docs" / "SECURITY.md").read_text()):
        if not path and not name:
            continue
        page = path or page
        text = (ROOT / page).read_text()
        assert not name or f"def {name}(" in text, (page, name)
        found += 1
    assert found > 15


@pytest.mark.parametrize("unit", ["aigrid.service", "aigrid-site.service"])
def test_units_start_commands_that_exist(unit: str) -> None:
    text = (ROOT / "deploy" / unit).read_text()
    (start,) = re.findall(r"^ExecStart=\S+/aigrid (.*)$", text, re.MULTILINE)
    resolve([word for word in start.split() if not word.startswith("$")])
