import json
import subprocess
import sys
from importlib import import_module

import pytest

from aigrid.cli.main import COMMANDS
from tests.cli.conftest import Run

HEAVY = ("numpy", "pydantic", "rich", "yaml", "torch", "onnxruntime", "fastapi", "aiohttp")


def test_help_lists_every_command(aigrid: Run) -> None:
    shown = aigrid("--help")
    assert shown.code == 0
    for name, place in COMMANDS.items():
        assert name in shown.out
        assert place.summary in shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_summary_that_the_list_shows(aigrid: Run, name: str) -> None:
    assert aigrid(name, "--help").code == 0
    command = getattr(import_module(COMMANDS[name].module), COMMANDS[name].name)
    assert command.help.startswith(COMMANDS[name].summary.removesuffix("."))


@pytest.mark.parametrize("module", ["aigrid.cli.main", "aigrid.cli.status"])
def test_help_and_status_do_not_pay_for_heavy_imports(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.split() == []


def test_no_command_shows_the_help(aigrid: Run) -> None:
    shown = aigrid()
    assert "Commands:" in shown.out + shown.err


def test_version_as_json(aigrid: Run) -> None:
    known = json.loads(aigrid("version", "--json").out)
    assert known["version"] == "0.1.0"


def test_data_before_and_behind_the_command_mean_the_same(aigrid: Run) -> None:
    before = aigrid("--data", "/nowhere/a", "status")
    behind = aigrid("status", "--data", "/nowhere/a")
    assert before == behind
    assert "/nowhere/a" in before.err
