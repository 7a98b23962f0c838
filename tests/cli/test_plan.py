"""`aigrid plan` as its user sees it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

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
