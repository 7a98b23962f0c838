"""The commands of docs/SCENARIOS.md, run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from aigrid.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "SCENARIOS.md"


def test_every_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    aigrid (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr()
