"""docs/SCENARIOS.md against the code: commands run, columns and limits are those that are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from aigrid.cli.main import main
from aigrid.twin.country import loads, sites, traces
from aigrid.twin.country.parents import FAR_KM
from aigrid.twin.country.problems import LIMIT
from aigrid.twin.models.devices import SHEET
from aigrid.twin.models.shapes import RADIO_SHAPES

PAGE = (Path(__file__).parents[2] / "docs" / "SCENARIOS.md").read_text()
SECTIONS = dict(re.findall(r"^#+ (.+?)\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))
GIB = 1024**3


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows(section: str) -> dict[str, str]:
    """First cell of each row of a section's tables, without its marks, to the rest of the row."""
    found = re.findall(r"^\| (.+?) \|(.*)$", SECTIONS[section], re.MULTILINE)
    return {first.strip("`"): row for first, row in found}


def test_every_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        words = shlex.split(command.replace("--minutes 60", "--minutes 2"))
        assert words[0] == "aigrid"
        assert main(words[1:]) == 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("section", "columns"),
    [("Sites", sites.COLUMNS), ("Radio load", loads.COLUMNS), ("Traces", traces.COLUMNS)],
)
def test_every_column_has_a_row_and_the_needed_ones_say_so(section: str, columns: tuple) -> None:
    told = rows(section)
    for column in columns:
        assert column.name in told, column.name
        assert ("| needed |" in told[column.name]) == column.required, column.name
    if section == "Traces":
        assert set(traces.KEYS) <= set(told)
    else:
        assert set(told) - {"column"} == {column.name for column in columns}


def test_limits_and_names_are_those_of_the_code() -> None:
    told = rows("Tables")
    for name, table in (("sites", sites), ("radio load", loads), ("trace", traces)):
        assert f"{table.ROWS_LIMIT:,} | {table.BYTES_LIMIT // GIB} GiB" in told[name]
    assert f"over {FAR_KM:.0f} km" in PAGE
    assert f"below {loads.IDLE_LOAD} in" in PAGE
    assert f"first {LIMIT} errors" in PAGE
    assert f"each {traces.BLOCK_TOKENS} tokens" in PAGE
    assert all(f"`{name}`" in PAGE for name in (*SHEET, *RADIO_SHAPES))


def test_snippets_of_yaml_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a scenario, with the columns that they speak of."""
    assert main(["scenario", "template", str(tmp_path)]) == 0
    path = tmp_path / "example.yaml"
    scenario = yaml.safe_load(path.read_text())
    for block in blocks("yaml"):
        scenario |= yaml.safe_load(block)
    head, *lines = (tmp_path / "sites.csv").read_text().splitlines()
    head = head.replace("latitude_deg,longitude_deg", "LAT,LON").removesuffix(",customers")
    cut = [f"{line.rsplit(',', 1)[0]},x,1" for line in lines]
    (tmp_path / "export.csv").write_text("\n".join([f"{head},vendor,tac", *cut]))
    path.write_text(yaml.safe_dump(scenario))
    assert main(["scenario", "check", str(path)]) == 0, capsys.readouterr()
    assert "82,500 customers" in capsys.readouterr().out
