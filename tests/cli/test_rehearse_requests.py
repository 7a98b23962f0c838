"""`aigrid rehearse --requests`: what it prints and refuses, and the page it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aigrid.app import rehearsing
from tests.cli.conftest import Run
from tests.twin.region.test_rehearsal import city


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of two minutes beside a made-up scenario."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made-up.yaml").write_text("")
    monkeypatch.setattr(rehearsing, "_country", lambda path, wish, *_: city(minutes=2))
    rows = [f"2023-11-16 18:{m:02}:{s:02}.5,{200 + s},{5 + s}" for m in range(2) for s in range(60)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    return path


def test_tails_are_printed_told_and_drawn(aigrid: Run, trace: Path, tmp_path: Path) -> None:
    command = ("rehearse", "made-up.yaml", "--requests", trace.name, "--policy", "aigrid")
    ran = aigrid(*command, "--out", tmp_path / "there")
    assert ran.code == 0, ran.err
    for words in ("request by request", "TTFT p50", "chat", "vision", "trace.csv"):
        assert words in ran.out
    page = (tmp_path / "there" / "report.html").read_text()
    for words in (
        "Request by request",
        "p99.9",
        "120 requests come in these minutes",
        " --requests ",
    ):
        assert words in page
    told = json.loads((tmp_path / "there" / "rehearsal.json").read_text())
    assert told["requests_from"] == "trace.csv"
    ours = told["policies"]["aigrid"]
    assert ours["services"]["chat"]["requests"] <= 120
    assert ours["ttft_ms_p50"] <= ours["ttft_ms_p999"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "3"), ("--rate", "--requests TRACE")),
        (("--requests", "synthetic", "--service", "chat"), ("--service", "--requests TRACE")),
        (("--requests", "trace.csv", "--service", "chatt"), ("'chatt'", "chat, vision")),
        (("--requests", "trace.csv", "--rate", "0"), ("--rate 0", "up to")),
        (("--requests", "nowhere.csv"), ("nowhere.csv", "synthetic")),
        (("--swarm", "3", "--rate", "3"), ("--rate", "--swarm")),
    ],
)
def test_refusals(
    aigrid: Run, trace: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    scenario = () if "--swarm" in arguments else ("made-up.yaml",)
    ran = aigrid("rehearse", *scenario, *arguments)
    assert ran.code != 0
    for word in words:
        assert word in ran.err


def test_a_trace_that_is_wrong_is_told_with_its_line(aigrid: Run, trace: Path) -> None:
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n")
    ran = aigrid("rehearse", "made-up.yaml", "--requests", trace.name)
    assert ran.code != 0
    assert "trace.csv:2" in ran.err
