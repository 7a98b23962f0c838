"""What a log says of long work."""

import pytest

from aigrid.cli import bars
from aigrid.cli.bars import Lines, spelt


def test_lines_reckon_what_is_left_from_the_first_step_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step made tables for a minute; the others take a second each."""
    now_s = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now_s[0])
    lines = Lines()
    lines.stage("rehearsing", 100)
    for took_s, steps in [(60.0, 1), (9.0, 9), (1.0, 1), (10.0, 10)]:
        now_s[0] += took_s
        lines.advance(steps, policy="aigrid")
    assert capsys.readouterr().err.splitlines() == [
        "rehearsing",
        "rehearsing 1% policy aigrid",
        "rehearsing 11%, 89 s left policy aigrid",
        "rehearsing 21%, 79 s left policy aigrid",
    ]


def test_facts_are_spelt() -> None:
    assert spelt({"loss": 2.5, "tokens": 12_000}) == "loss 2.5, tokens 12,000"
