"""The chaos suite tells a good answer from a bad one, and a grid under it keeps its word."""

import json

import numpy as np
import pytest

from aigrid.app.chaos.faults import FAULTS, SUITES, flip_a_byte
from aigrid.app.chaos.load import Fate, Told, questions, read_stream
from aigrid.app.chaos.suite import Wish, chosen, judge, run
from aigrid.core.errors import NotFoundError
from aigrid.factory.progress import SilentProgress

RIGHT = Told("a b", "stop", 2)


def stream(*events: dict, done: bool = True) -> bytes:
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return raw + (b"data: [DONE]\n\n" if done else b"")


def piece(text: str, finish: str | None = None) -> dict:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"completion_tokens": 2}}


def test_a_whole_stream_is_read():
    assert read_stream(stream(piece("a"), piece(" b", "stop"), USAGE)) == RIGHT


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (stream(piece("a"), done=False), "without its end"),
        (stream(piece("a"), {"error": {"message": "gone"}}), "error in mid-stream: gone"),
        (stream(piece("a", "stop")), "0 counts of usage"),
        (stream(piece("a", "stop"), USAGE, USAGE), "2 counts of usage"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(raw, said):
    assert said in read_stream(raw)


@pytest.mark.parametrize(
    ("fate", "figure"),
    [
        (Fate(trouble="hung: no end"), "hung"),
        (Fate(trouble="lost after 60 tries"), "lost"),
        (Fate(Told("a", "stop", 2)), "changed"),
        (Fate(Told("a b", "length", 2)), "changed"),
        (Fate(Told("a b", "stop", 3)), "changed"),
    ],
)
def test_each_harm_fails_a_fault(fate, figure):
    verdict = judge(FAULTS["kill-site"], [Fate(RIGHT), fate], [RIGHT, RIGHT])
    assert getattr(verdict, figure) == 1
    assert not verdict.passed


def test_a_broken_connection_is_excused_only_where_the_gateway_died():
    broken = Fate(RIGHT, broken=1)
    assert judge(FAULTS["kill-gateway"], [broken], [RIGHT]).passed
    assert not judge(FAULTS["kill-site"], [broken], [RIGHT]).passed


def test_questions_are_those_of_their_seed():
    first, again, other = (questions("m", 8, 64, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other
    assert {"seed" in q.body for q in first} == {True, False}


def test_suites_name_faults():
    assert set(SUITES["all"]) == set(FAULTS)
    assert [fault.name for fault in chosen("hang-site")] == ["hang-site"]
    with pytest.raises(NotFoundError, match="no chaos suite 'nonsense'"):
        chosen("nonsense")


def test_one_byte_changes(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(100))
    path.chmod(0o444)
    flip_a_byte(path, np.random.default_rng(0))
    assert sum(byte != 0 for byte in path.read_bytes()) == 1
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.grid
@pytest.mark.timeout(240)
def test_a_grid_under_small_chaos_loses_nothing():
    verdicts = run(Wish("small", seed=3, questions=32), SilentProgress())
    assert [v.fault for v in verdicts] == list(SUITES["small"])
    for verdict in verdicts:
        assert verdict.passed, verdict
