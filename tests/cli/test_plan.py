"""`aigrid plan` as its user sees it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from aigrid.app.bundled import find_bundled
from aigrid.cli.main import main

CHEAP = ["plan", "region", "--device", "rtx-pro-6000", "--at", "factory", "--no-rehearse"]


def test_a_plan_is_printed_with_its_gap_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan"
    # A factory's devices cannot make a voice token every 50 microseconds.
    wished = ["--slo", "voice:tpot=0.05", "--exact", "--out", str(out), "--json"]
    assert main([*CHEAP, *wished]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["plans"]) == {"exact", "fast"}
    assert told["gap"] >= -1e-3
    assert told["carries_all"] is False
    (missing,) = told["not_carried"]
    assert missing["service"] == "voice"
    assert "TPOT 0.05 ms" in missing["reason"]
    assert "nearest" in missing["reason"]
    assert json.loads((out / "plan.json").read_text()) == told
    with (out / "plan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["sites"]
    devices = sum(float(r["devices"]) for r in rows if r["kind"] == "factory")
    assert devices == told["plan"]["bought"][0]["devices"]
    assert {r["device"] for r in rows if r["kind"] == "tower"} == {"radio-only"}


def small(folder: Path) -> Path:
    """The region with few towers, one service, and the first hour of its day."""
    lines = find_bundled("scenarios", "region").read_text()
    scenario = yaml.safe_load(lines)
    scenario["sites"] |= {"towers": 60, "customers": 11_000, "towers_per_hub": 20}
    scenario["services"] = [s for s in scenario["services"] if s["name"] == "vision"]
    scenario["minutes"] = 60
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(scenario))
    return path


def test_a_plan_is_rehearsed_and_every_round_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wished = ["--demand", "2000", "--slo", "0.99", "--towers", "off", "--device", "l40s", "--fast"]
    assert main(["plan", str(small(tmp_path)), *wished, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rehearsed, first = told["rehearsed"], told["rounds"][0]
    assert told["holds"] is all(part >= 0.99 for part in rehearsed["attained"].values())
    # The site by site view adds up to what the rehearsal counts for all.
    assert rehearsed["attained"]["vision"] == pytest.approx(rehearsed["slo_attainment"], abs=1e-6)
    assert first["planned"] == 0.99
    assert first["cost_usd"] > 0.0
    assert first["energy_usd"]["rehearsed"] > 0.0
    assert told["rounds"][-1]["holds"] or len(told["rounds"]) > 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--demand", "talk=2"], "no service 'talk'"),
        (["--slo", "voice:speed=3"], "not understood"),
        (["--slo", "2"], "share of requests"),
        (["--device", "abacus"], "not on the sheet"),
        (["--at", "moon"], "kind of site 'moon'"),
        (["--demand", "0"], "no demand"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_line(
    wrong: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "region", *wrong]) != 0
    assert told in capsys.readouterr().err
