"""Traces of requests as columns: when each came, how long it was, which prefixes it shares.

Two formats: the columns of the Azure LLM inference traces (`TIMESTAMP,ContextTokens,
GeneratedTokens`; Patel et al., "Splitwise", ISCA 2024), and the lines of the Mooncake traces
(`timestamp` in ms, `input_length`, `output_length`, `hash_ids` of blocks of 512 prompt tokens, each
id standing for its block and all before it; Qin et al., "Mooncake", FAST 2025, section 4).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.clock import seconds_of
from aigrid.twin.country.problems import Problems, instead, shown
from aigrid.twin.country.tables import (
    Column,
    Source,
    Table,
    each,
    is_readable,
    read_table,
    sha256_of,
)

ROWS_LIMIT = 5_000_000
BYTES_LIMIT = 1024**3
BLOCKS_LIMIT = 100_000_000
TOKENS_LIMIT = 10_000_000
BLOCK_TOKENS = 512
JSON_LINE_LIMIT = 1024**2
JSONL = (".jsonl", ".ndjson")
DAY_S = 86_400.0
COLUMNS = (
    Column("TIMESTAMP", "text"),
    Column("ContextTokens", "count", low=1, high=TOKENS_LIMIT),
    Column("GeneratedTokens", "count", low=0, high=TOKENS_LIMIT),
)
KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """R requests in order of time.

    Attributes:
        origin: the file.
        sha256: of its bytes, hex.
        at_s: (R,) float64, seconds since the first request; never falls.
        prompt_tokens: (R,) int64, 1 or more.
        output_tokens: (R,) int64, 1 or more.
        block_start: (R + 1,) int64; request r's blocks are `block_id[block_start[r]:
            block_start[r + 1]]`, from its first token on. All 0 where the trace has none.
        block_id: (B,) int64; the same id stands for the same tokens from the prompt's start.
        block_tokens: prompt tokens of a block (the last of a prompt may hold fewer); 0 where the
            trace has no blocks.
        start_s: time of day of the first request, seconds after midnight; NaN where the trace
            does not say.
    """

    origin: str
    sha256: str
    at_s: Floats
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    block_start: NDArray[np.int64]
    block_id: NDArray[np.int64]
    block_tokens: int
    start_s: float

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def span_s(self) -> float:
        """From the first request to the last."""
        return float(self.at_s[-1])


def read_trace(path: Path) -> Trace:
    """Read a trace: Mooncake's lines from `.jsonl`, else Azure's columns from CSV or Parquet.

    A request that made no token counts as one that made one.

    Raises:
        ConfigurationError: it cannot be read or used; names the first line that is wrong.
    """
    problems = Problems()
    trace = trace_of(Source(path), problems)
    problems.raise_first(str(path))
    assert trace is not None, "a trace that is not there has a problem"
    return trace


def trace_of(source: Source, problems: Problems) -> Trace | None:
    """Like `read_trace`; what is wrong goes to `problems`, and the answer is None then."""
    source = replace(source, rows_limit=ROWS_LIMIT, bytes_limit=BYTES_LIMIT)
    before = problems.count
    is_json = source.path.suffix.lower() in JSONL
    trace = _from_lines(source, problems) if is_json else _from_table(source, problems)
    return None if problems.count > before else trace


def _from_table(source: Source, problems: Problems) -> Trace | None:
    table = read_table(source, COLUMNS, problems)
    if table is None or len(table.numbers) + len(table.texts) < len(COLUMNS) or not table.rows:
        return None
    at_s = _times(table, problems)
    if at_s is None:
        return None
    columns = _Columns(
        at_s, table.numbers["ContextTokens"], table.numbers["GeneratedTokens"], at_s.min() % DAY_S
    )
    return _ordered(source, columns, problems)


def _times(table: Table, problems: Problems) -> Floats | None:
    texts = table.texts["TIMESTAMP"]
    seconds, wrong = seconds_of(texts.values)
    name, step = "TIMESTAMP", "write 2023-11-16 18:15:46.680"
    for at in wrong[: problems.limit]:
        rows = np.flatnonzero(texts.code == at)
        what = f"{shown(texts.values[at])} is not a time"
        if texts.values[at]:  # an empty one was named already
            each(table, rows, name, what, step, problems)
    return None if len(wrong) else seconds[texts.code]


@dataclass(slots=True)
class _Columns:
    at_s: Any
    prompt: Any
    output: Any
    start_s: float
    blocks: list[int] = field(default_factory=list)
    block_counts: Any = ()


def _ordered(source: Source, columns: _Columns, problems: Problems) -> Trace | None:
    at_s = np.asarray(columns.at_s, np.float64)
    prompt, output = np.asarray(columns.prompt), np.asarray(columns.output)
    if not (np.isfinite(prompt).all() and np.isfinite(output).all()):
        return None  # said already
    origin, order = str(source.path), np.argsort(at_s, kind="stable")
    counts = np.zeros(len(at_s), np.int64)
    counts[: len(columns.block_counts)] = columns.block_counts
    blocks = np.array(columns.blocks, np.int64)
    if back := int(np.count_nonzero(np.diff(at_s) < 0.0)):
        what = f"{back:,} requests come before the one above them"
        problems.warn(origin, 0, "", what, "they were put in order; check the times")
        starts = np.concatenate(([0], np.cumsum(counts)))
        blocks = np.concatenate([blocks[starts[r] : starts[r + 1]] for r in order])
    if silent := int(np.count_nonzero(output < 1)):
        what = f"{silent:,} requests made no token"
        problems.warn(origin, 0, "", what, "they count as one token; leave out failed requests")
    return Trace(
        origin=origin,
        sha256=sha256_of(source.path),
        at_s=at_s[order] - at_s[order[0]],
        prompt_tokens=prompt[order].astype(np.int64),
        output_tokens=np.maximum(output[order], 1).astype(np.int64),
        block_start=np.concatenate(([0], np.cumsum(counts[order]))).astype(np.int64),
        block_id=blocks,
        block_tokens=BLOCK_TOKENS if len(blocks) else 0,
        start_s=columns.start_s,
    )


def _from_lines(source: Source, problems: Problems) -> Trace | None:
    origin = str(source.path)
    if not is_readable(source.path, source.bytes_limit, problems):
        return None
    found = _Columns([], [], [], float("nan"), [], [])
    try:
        with source.path.open("rb") as file:
            number = 0
            while line := file.readline(JSON_LINE_LIMIT):
                number += 1
                if line.strip():
                    _line(line, origin, number, source, found, problems)
                if len(found.at_s) > source.rows_limit or len(found.blocks) > BLOCKS_LIMIT:
                    what = f"over {source.rows_limit:,} requests, or {BLOCKS_LIMIT:,} blocks"
                    problems.error(origin, number, "", what, "give fewer lines")
                    return None
    except OSError as error:
        problems.error(origin, 0, "", f"cannot be read: {error}", "give a JSONL file")
        return None
    if not found.at_s:
        if not problems.errors:
            problems.error(origin, 0, "", "holds no requests", "give one JSON object a line")
        return None
    return _ordered(source, found, problems)


def _line(
    line: bytes, origin: str, number: int, source: Source, found: _Columns, problems: Problems
) -> None:
    try:
        raw = json.loads(line)
    except ValueError as error:
        step = "write one JSON object a line"
        problems.error(origin, number, "", f"is not JSON: {error}", step)
        return
    if not isinstance(raw, dict):
        problems.error(origin, number, "", f"{shown(raw)} is not an object", "write {...}")
        return
    before = problems.count
    values = _known(raw, origin, number, source, problems)
    ids = values.get("hash_ids", [])
    if not isinstance(ids, list) or not all(type(i) is int and abs(i) < 2**63 for i in ids):
        what = f"{shown(ids)} is not a list of whole numbers"
        problems.error(origin, number, "hash_ids", what, "give one id a block of 512 tokens")
    if problems.count > before:
        return
    if len(ids) > -(-values["input_length"] // BLOCK_TOKENS):
        what = f"{len(ids)} blocks for {values['input_length']} tokens"
        step = f"a block has {BLOCK_TOKENS} tokens; give an id for each"
        problems.error(origin, number, "hash_ids", what, step)
        return
    found.at_s.append(values["timestamp"] / 1e3)
    found.prompt.append(values["input_length"])
    found.output.append(values["output_length"])
    found.blocks.extend(ids)
    found.block_counts.append(len(ids))


def _known(
    raw: dict[str, Any], origin: str, number: int, source: Source, problems: Problems
) -> Mapping[str, Any]:
    ours = {theirs: name for name, theirs in source.columns.items()}
    values = {ours.get(key, key): v for key, v in raw.items() if key not in source.ignore}
    for key in values:
        if key not in KEYS:
            problems.error(origin, number, key, "unknown key", instead(key, KEYS))
    for key, low in zip(KEYS[:3], (0, 1, 0), strict=True):
        high = 1e15 if key == "timestamp" else TOKENS_LIMIT
        value = values.get(key)
        is_number = isinstance(value, int) or (key == "timestamp" and isinstance(value, float))
        if value is None:
            problems.error(origin, number, key, "no value", "give a number in each line")
        elif isinstance(value, bool) or not is_number or not low <= value <= high:
            step = f"give a whole number from {low} to {high:,.0f}"
            problems.error(origin, number, key, f"{shown(value)} is out of range", step)
    return values
