"""`aigrid rollout` and the dials of `aigrid deploy --canary`, without a grid."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aigrid.cli import rollout
from aigrid.core.errors import ConfigurationError, UnavailableError
from aigrid.live.client import ControlClient
from tests.cli.conftest import Run

FIGURES = {
    "requests": 120,
    "errors": 1,
    "ttft_mean_ms": 31.0,
    "ttft_p50_ms": 32.0,
    "ttft_p95_ms": 45.3,
    "card_bits_per_byte": 2.01,
}


def row(phase: str, reason: str) -> dict[str, Any]:
    return {
        "service": "chat",
        "version": "2",
        "old_version": "1",
        "phase": phase,
        "reason": reason,
        "retired": False,
        "plan": {"share": 0.1},
        "new": FIGURES,
        "old": FIGURES | {"ttft_p50_ms": None, "card_bits_per_byte": None},
    }


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the grid answers next; its last answer stands."""
    answers: list[dict[str, Any]] = []

    def answer(*asked: Any) -> dict[str, Any]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise UnavailableError("away")
        return found

    monkeypatch.setattr(ControlClient, "grid", lambda self: {})
    monkeypatch.setattr(ControlClient, "start_rollout", answer)
    monkeypatch.setattr(ControlClient, "rollout", answer)
    monkeypatch.setattr(ControlClient, "steer_rollout", answer)
    monkeypatch.setattr(ControlClient, "rollouts", lambda self: answers)
    monkeypatch.setattr(rollout, "LOOK_S", 0.001)
    return answers


def test_deploy_tells_how_a_trial_goes_and_ends(aigrid: Run, grid: list[dict[str, Any]]) -> None:
    grid += [row("loading", "no site serves it yet"), row("watching", "3 of 100 requests")]
    grid += [{}, row("watching", "99 of 100 requests"), row("promoted", "no worse")]
    shown = aigrid("deploy", "chat:2", "--canary", "10%")
    assert shown.code == 0
    assert "3 of 100 requests" in shown.err
    assert "99 of 100 requests" in shown.err
    assert shown.out.strip() == "chat:2 is promoted: no worse"


def test_a_rolled_back_version_ends_the_command_with_1(
    aigrid: Run, grid: list[dict[str, Any]]
) -> None:
    grid += [row("watching", ""), row("rolled_back", "more errors")]
    shown = aigrid("deploy", "chat:2", "--canary", "0.1", "--json")
    assert shown.code == 1
    assert json.loads(shown.out)["reason"] == "more errors"


def test_no_wait_returns_at_once(aigrid: Run, grid: list[dict[str, Any]]) -> None:
    grid += [row("loading", "no site serves it yet")]
    shown = aigrid("deploy", "chat:2", "--canary", "10%", "--no-wait")
    assert (shown.code, shown.out.strip()) == (
        0,
        "chat:2 is on trial with 10 % of the requests: no site serves it yet",
    )


@pytest.mark.parametrize("share", ["0", "100%", "1", "-1%", "a tenth"])
def test_a_share_that_is_none_is_refused(aigrid: Run, share: str) -> None:
    shown = aigrid("deploy", "chat:2", "--canary", share)
    assert shown.code == 2
    assert "is no share" in shown.err


def test_dials_without_a_trial_are_refused() -> None:
    assert rollout.read_plan({"canary": None, "min_s": None}) is None
    assert rollout.read_plan({"canary": 0.2, "min_s": 3.0}) == {"share": 0.2, "min_s": 3.0}
    with pytest.raises(ConfigurationError, match="--min-requests is for a trial"):
        rollout.read_plan({"canary": None, "min_requests": 5})


@pytest.mark.parametrize("arguments", [("rollout",), ("rollout", "chat"), ("rollout", "show")])
def test_rollout_shows_both_versions_in_figures(
    aigrid: Run, grid: list[dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    grid += [row("watching", "3 of 100 requests")]
    shown = aigrid(*arguments)
    assert shown.code == 0
    assert "new 2: 1 errors of 120 requests, first token 32 ms (95 %: 45 ms)" in shown.out
    assert "card 2.01 bits per byte" in shown.out
    assert "old 1: 1 errors of 120 requests\n" in shown.out


def test_no_trial_yet_says_so(aigrid: Run, grid: list[dict[str, Any]]) -> None:
    assert aigrid("rollout").out.strip() == "no version was tried yet"
    assert json.loads(aigrid("rollout", "--json").out) == []


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_a_trial_is_ended_by_hand(aigrid: Run, grid: list[dict[str, Any]], verb: str) -> None:
    grid += [row("promoted" if verb == "promote" else "rolled_back", "by hand")]
    shown = aigrid("rollout", verb, "chat")
    assert shown.code == 0
    assert shown.out.startswith("chat:2 is ")


def test_a_control_plane_that_stays_away_is_not_waited_for_for_ever(
    aigrid: Run, grid: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Iterator[float] = iter(range(0, 100_000, 30))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    grid += [row("watching", ""), {}]
    assert aigrid("deploy", "chat:2", "--canary", "10%").code == 8
