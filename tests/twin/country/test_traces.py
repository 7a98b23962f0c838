"""Traces of requests in both formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigrid.app.scenarios import check
from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.traces import Trace, read_trace
from aigrid.twin.country.usage import day_shape, lengths_of, shared_tokens

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
TRACES = Path(__file__).parents[4] / "shared" / "data" / "llm-trace"


def mooncake(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_requests_come_in_order_with_their_blocks(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 5000, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 8000, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]},
        {"timestamp": 6000, "input_length": 1500, "output_length": 0, "hash_ids": [1, 9, 7]},
        {"timestamp": 9000, "input_length": 10, "output_length": 2},
    ]
    path = mooncake(tmp_path / "t.jsonl", rows)
    trace = read_trace(path)
    assert list(trace.at_s) == [0.0, 1.0, 3.0, 4.0]
    assert list(trace.output_tokens) == [5, 1, 5, 2]
    assert list(trace.block_id) == [1, 2, 3, 1, 9, 7, 1, 2]
    assert list(trace.block_start) == [0, 3, 6, 8, 8]
    assert np.isnan(trace.start_s)
    assert list(shared_tokens(trace)) == [0, 512, 700, 0]
    said = " ".join(p.message for p in check(path).problems.warnings)
    assert "1 requests made no token" in said
    assert "come before the one above" in said


def test_times_of_azure_say_the_time_of_day(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{AZURE}2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50,9,1\n")
    trace = read_trace(path)
    assert trace.start_s == pytest.approx(18 * 3600 + 15 * 60 + 46.68059)
    assert trace.at_s == pytest.approx([0.0, 3.31941])
    assert trace.block_tokens == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.csv", "a,b\n", "t.csv:1: a: unknown column"),
        ("t.csv", f"{AZURE}now,1,1\n", "t.csv:2: TIMESTAMP: 'now' is not a time"),
        ("t.csv", f"{AZURE}2026-02-30 08:00:00,1,1\n", "t.csv:2: TIMESTAMP: '2026-02-30 08"),
        ("t.csv", f"{AZURE}2026-11-24 08:00:00,-1,1\n", "t.csv:2: ContextTokens: -1 is out"),
        ("t.csv", f"{AZURE}2026-11-24 08:00:00,1.5,1\n", "t.csv:2: ContextTokens: 1.5 is no whole"),
        ("t.csv", f"{AZURE}\n2026-11-24 08:00:00,,1\n", "t.csv:3: ContextTokens: no value"),
        ("t.csv", f'{AZURE}2026-11-24 08:00:00,"1,1\n', "line 2 has a quote that does not close"),
        ("t.jsonl", "[1]\n", "t.jsonl:1: [1] is not an object"),
        ("t.jsonl", '{"timestamp": 1, "inptu_length": 2}\n', "did you mean input_length"),
        ("t.jsonl", '{"timestamp": 1, "input_length": true}\n', "input_length: True is out"),
        (
            "t.jsonl",
            '{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": [1, 2]}\n',
            "t.jsonl:1: hash_ids: 2 blocks for 5 tokens",
        ),
        ("t.jsonl", "{\n", "t.jsonl:1: is not JSON"),
        ("t.jsonl", "", "t.jsonl: holds no requests"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_trace(tmp_path / name)
    assert expected in str(caught.value)


def made(at_s: list[float], blocks: list[list[int]]) -> Trace:
    counts = [len(ids) for ids in blocks]
    return Trace(
        origin="made",
        sha256="",
        at_s=np.array(at_s),
        prompt_tokens=np.array([max(512 * n - 100, 1) for n in counts]),
        output_tokens=np.ones(len(at_s), np.int64),
        block_start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        block_id=np.array([i for ids in blocks for i in ids], np.int64),
        block_tokens=512,
        start_s=0.0,
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=1, max_size=8))
def test_shared_tokens_are_those_of_an_endless_cache(blocks: list[list[int]]) -> None:
    trace = made([float(i) for i in range(len(blocks))], blocks)
    seen: set[int] = set()
    for row, ids in enumerate(blocks):
        kept = next((i for i, block in enumerate(ids) if block not in seen), len(ids))
        assert shared_tokens(trace)[row] == min(512 * kept, trace.prompt_tokens[row])
        seen.update(ids)


def test_the_shape_of_a_day_starts_when_the_trace_does() -> None:
    at_s = [60.0 * m for m in range(2880) if (m % 1440) < 720 or m % 10 == 0] + [2880 * 60.0]
    curve = day_shape(made(at_s, [[]] * len(at_s)), starts_s=6 * 3600.0)
    assert curve.mean() == pytest.approx(1.0)
    assert curve[12 * 60] == pytest.approx(10 * curve[0], rel=0.1)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the Azure traces are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "requests", "prompt"), [("conv", 19_366, 1154.7), ("code", 8_819, 2047.8)]
)
def test_the_real_azure_traces_are_read_whole(name: str, requests: int, prompt: float) -> None:
    trace = read_trace(TRACES / f"azure_{name}.csv")
    assert len(trace) == requests
    assert 3000.0 < trace.span_s < 4000.0
    assert lengths_of(trace.prompt_tokens).mean == pytest.approx(prompt, abs=0.5)
    assert check(TRACES / f"azure_{name}.csv").good
