"""Usage is on disk before it counts, and is kept until it was taken."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aigrid.core.errors import UnavailableError
from aigrid.core.tenancy import Place, Usage
from aigrid.live import usage_log
from aigrid.live.open_answers import SLOT_BYTES, OpenAnswers
from aigrid.live.usage_log import UsageLog, event_of


def used(number: int) -> Usage:
    place = Place("tower-1", "jp-13", "own")
    return Usage(f"req-{number}", "acme", "k", "m", "sha256:0", (place,), at_s=1000.5 + number)


def ids(log: UsageLog) -> list[str]:
    return [event["id"] for event in log.batch()[0]]


def test_record_is_a_cloud_event() -> None:
    event = event_of(used(1), "gw")
    assert event["specversion"] == "1.0" and event["id"] == "req-1"
    assert event["source"] == "/gateways/gw" and event["type"] == "org.aigrid.usage.v1"
    assert event["time"] == "1970-01-01T00:16:41.500+00:00"
    assert event["data"]["places"] == [{"site": "tower-1", "region": "jp-13", "operator": "own"}]
    assert json.loads(json.dumps(event)) == event


def test_what_was_not_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    log = UsageLog(tmp_path)
    for number in range(5):
        log.append(used(number))
    events, position = log.batch()
    assert len(events) == 5
    log.append(used(5))
    log.acknowledge(position)
    again = UsageLog(tmp_path)  # the first one was killed: nothing was closed
    assert ids(again) == ["req-5"]
    assert again.gateway == log.gateway
    again.acknowledge(again.batch()[1])
    assert ids(again) == []
    log.close()
    again.close()


def test_torn_last_line_is_taken_off(tmp_path: Path) -> None:
    log = UsageLog(tmp_path)
    log.append(used(0))
    log.close()
    (segment,) = tmp_path.glob("usage-*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"specversion":"1.0","id":"req-')
    again = UsageLog(tmp_path)
    again.append(used(1))
    assert ids(again) == ["req-0", "req-1"]
    again.close()


def test_log_goes_on_in_segments_and_acknowledged_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_log, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(usage_log, "BATCH_LIMIT", 4)
    log = UsageLog(tmp_path)
    for number in range(30):
        log.append(used(number))
    assert len(list(tmp_path.glob("usage-*.jsonl"))) > 5
    seen: list[str] = []
    while events := log.batch()[0]:
        seen += [event["id"] for event in events]
        log.acknowledge(log.batch()[1])
    assert seen == [f"req-{number}" for number in range(30)]
    assert len(list(tmp_path.glob("usage-*.jsonl"))) == 1
    log.close()


def test_full_disk_holds_records_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UsageLog(tmp_path)
    log.append(used(0))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(usage_log.os, "write", full)
        patched.setattr(usage_log, "HELD_LIMIT", 2)
        log.append(used(1))
        log.check()
        log.append(used(2))
        with pytest.raises(UnavailableError, match="cannot be written down"):
            log.check()
    assert ids(log) == ["req-0", "req-1", "req-2"]
    log.check()
    log.close()


def test_half_written_record_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UsageLog(tmp_path)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(usage_log.os, "write", lambda file, line: write(file, line[:10]))
        log.append(used(0))
    assert ids(log) == ["req-0"]
    log.close()


def test_open_streams_outlive_a_kill_with_what_was_delivered(tmp_path: Path) -> None:
    streams = OpenAnswers(tmp_path / "open", 4)
    slots = [streams.begin(used(number)) for number in range(5)]
    assert slots[4] == -1  # one more than there is room for is not kept
    streams.count(slots[0], 7, 3, 2000.0)
    streams.count(slots[1], 7, 5, 2001.0)
    streams.end(slots[1])
    again = OpenAnswers(tmp_path / "open", 4)
    left = {usage.request_id: usage for usage in again.left}
    assert set(left) == {"req-0", "req-2", "req-3"}
    first = left["req-0"]
    assert (first.prompt_tokens, first.completion_tokens, first.at_s) == (7, 3, 2000.0)
    assert first.ended == "died" and first.places == used(0).places
    again.forget_left()
    assert OpenAnswers(tmp_path / "open", 4).left == []
    for one in (streams, again):
        one.close()


def test_slot_that_is_garbage_or_a_record_too_long_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.write_bytes(b"\x01\x00\x00\x00\x20\x00\x00\x00" + b"{" * (SLOT_BYTES - 8))
    streams = OpenAnswers(path, 2)
    assert streams.left == []
    long = Usage("r", "acme", "k", "m", places=tuple(Place("s" * 60, "r" * 60) for _ in range(9)))
    assert streams.begin(long) == -1
    streams.count(-1, 1, 1, 1.0)
    streams.end(-1)
    streams.close()
