"""`aigrid rehearse`: what it prints, writes and refuses."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from aigrid.app import rehearsing
from aigrid.cli.rehearse_view import rehearsal_view
from aigrid.core.errors import OverloadedError
from tests.cli.conftest import Run
from tests.twin.report import made_up


@pytest.fixture
def unrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[rehearsing.Wish]:
    """The command with a made-up country and outcome; answers the wishes that were made."""
    wishes: list[rehearsing.Wish] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made-up.yaml").write_text("")

    def run(country: object, policies: object, wish: rehearsing.Wish, progress: object) -> object:
        wishes.append(wish)
        return made_up.rehearsal()

    monkeypatch.setattr(rehearsing, "_country", lambda path, wish, progress: made_up.country())
    monkeypatch.setattr(rehearsing, "_run", run)
    return wishes


def drawn(width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(rehearsal_view(made_up.rehearsal(), width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    page = drawn(width)
    assert max(map(len, page.splitlines())) <= width
    assert "…" not in page, "nothing is cut off"
    for words in ("aigrid", "nearest", "2.0×10⁻⁶*", "95.0%*", "kept", "Nobody ran this."):
        assert words in page


def test_it_prints_a_table_and_writes_report_and_result(
    aigrid: Run, unrun: list[rehearsing.Wish], tmp_path: Path
) -> None:
    ran = aigrid("rehearse", "made-up.yaml", "--seed", 7, "--minutes", 180)
    assert ran.code == 0, ran.err
    assert "95.0%" in ran.out
    folder = tmp_path / "rehearsals" / "made-up-7"
    assert str(Path("rehearsals/made-up-7/report.html")) in ran.out
    assert "<!doctype html>" in (folder / "report.html").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["rehearsal.json", "report.html"]
    command = "aigrid rehearse made-up.yaml --seed 7 --minutes 180"
    assert command in (folder / "report.html").read_text()


def test_json_is_one_object(aigrid: Run, unrun: list[rehearsing.Wish], tmp_path: Path) -> None:
    ran = aigrid("rehearse", "made-up.yaml", "--json", "--out", tmp_path / "there")
    told = json.loads(ran.out)
    assert told["trace_sha256"] == "ab" * 32
    assert told["policies"]["aigrid"]["slo_attainment"] == 0.95
    assert "report" in ran.err
    stored = json.loads((tmp_path / "there" / "rehearsal.json").read_text())
    assert stored["policies"] == told["policies"]


def test_json_has_no_numbers_that_json_has_not(
    aigrid: Run, unrun: list[rehearsing.Wish], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = made_up.outcome("radio-only", 0, missed=float("nan"))
    monkeypatch.setattr(rehearsing, "_run", lambda *_: made_up.rehearsal(nothing))
    ran = aigrid("rehearse", "made-up.yaml", "--json")
    assert (
        json.loads(ran.out, parse_constant=pytest.fail)["policies"]["radio-only"]["radio_miss_rate"]
        is None
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("made-up.yaml", "--policy", "best"), ("'best'", "least-loaded")),
        (("made-up.yaml", "--policy", "aigrid", "--policy", "aigrid"), ("twice",)),
        (("made-up.yaml", "--minutes", "0"), ("--minutes 0", "1 to")),
        (("made-up.yaml", "--requests", "nowhere.csv"), ("nowhere.csv",)),
        (("nowhere",), ("'nowhere'", "scenarios/")),
        (("made-up.yaml", "--swarm", "3"), ("SCENARIO", "--swarm")),
        (("--from-live", "x", "--requests", "y"), ("--requests", "--from-live")),
        (("--swarm", "3", "--from-live", "x"), ("--from-live", "--swarm")),
        (("--swarm", "3", "--policy", "aigrid"), ("--policy", "--swarm")),
    ],
)
def test_refusals(
    aigrid: Run, unrun: list[rehearsing.Wish], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ran = aigrid("rehearse", *arguments)
    assert ran.code != 0
    assert len(ran.err.strip().splitlines()) <= 2
    for word in words:
        assert word in ran.err
    assert unrun == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OverloadedError("too many")])
def test_nothing_is_left_behind_when_it_ends_early(
    aigrid: Run,
    unrun: list[rehearsing.Wish],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(rehearsing, "_run", stop)
    ran = aigrid("rehearse", "made-up.yaml")
    assert ran.code in (130, 8)
    assert not (tmp_path / "rehearsals").exists()


def test_a_folder_that_cannot_be_written_is_said(
    aigrid: Run, unrun: list[rehearsing.Wish], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    ran = aigrid("rehearse", "made-up.yaml", "--out", tmp_path / "taken")
    assert ran.code == 7
    assert "taken" in ran.err


def test_a_country_from_its_file_to_its_report(aigrid: Run, tmp_path: Path) -> None:
    """The whole way, with the smallest bundled country; its load is real, its hour short."""
    arguments = ("region", "--policy", "aigrid", "--policy", "nearest", "--minutes", 30)
    ran = aigrid("rehearse", *arguments, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert list(told["policies"]) == ["aigrid", "nearest"]
    assert told["minutes"] == 30
    page = (tmp_path / "report.html").read_text()
    for words in (
        "Azure LLM inference traces",
        "assistant",
        "H100 SXM datasheet",
        "four sites over one cluster",
    ):
        assert words in page


def test_a_terminal_without_unicode_gets_the_table_too(tmp_path: Path) -> None:
    plain = {"PYTHONIOENCODING": "ascii", "AIGRID_DATA": str(tmp_path)}
    code = "from aigrid.cli.output import console; console().print('1.2×10⁻⁶ of the slots')"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | plain, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "1.2?10?? of the slots" in ran.stdout
