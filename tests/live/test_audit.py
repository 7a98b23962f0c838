"""The audit log finds whoever edits, removes, moves or cuts off its lines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aigrid.core.errors import StorageError
from aigrid.live import audit
from aigrid.live.audit import AuditError, AuditLog, Head, checked


def written(folder: Path, count: int = 5) -> AuditLog:
    log = AuditLog(folder)
    for number in range(count):
        log.append("call", [{"number": number}], float(number))
    return log


def segment(folder: Path) -> Path:
    (path,) = folder.glob("audit-*.jsonl")
    return path


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    log = written(tmp_path)
    log.append("request", [{"a": 1}, {"a": 2}], 9.0)
    assert [line["seq"] for line in checked(tmp_path, log.head)] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["a"] for line in log.last(2)] == [1, 2]


def test_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    written(tmp_path)
    log = written(tmp_path, 2)
    assert log.head.seq == 7
    assert len(list(checked(tmp_path, log.head))) == 7


def edit(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"number":2', b'"number":7')


def edit_and_hash(lines: list[bytes]) -> None:
    line = json.loads(lines[2])
    del line["hash"]
    line["number"] = 7
    lines[2] = audit.canonical_json(line | {"hash": audit._hash(line)}) + b"\n"


def remove(lines: list[bytes]) -> None:
    del lines[2]


def swap(lines: list[bytes]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def double(lines: list[bytes]) -> None:
    lines.insert(2, lines[2])


def spoil(lines: list[bytes]) -> None:
    lines[2] = b"[" * 10_000 + b"\n"


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (edit, "line 3 was edited"),
        (edit_and_hash, "line 4 does not follow line 3"),
        (remove, "line 3 was removed"),
        (swap, "line 3 was removed or lines were reordered"),
        (double, "line 4 is missing"),
        (spoil, "line 3 was edited"),
    ],
)
def test_tampering_is_found_and_named(
    tmp_path: Path, tamper: Callable[[list[bytes]], None], says: str
) -> None:
    log = written(tmp_path)
    lines = segment(tmp_path).read_bytes().splitlines(keepends=True)
    tamper(lines)
    segment(tmp_path).write_bytes(b"".join(lines))
    with pytest.raises(AuditError, match=says):
        list(checked(tmp_path, log.head))


def test_cut_off_end_and_a_rewritten_log_are_found_by_the_head(tmp_path: Path) -> None:
    head = written(tmp_path / "a").head
    lines = segment(tmp_path / "a").read_bytes().splitlines(keepends=True)
    segment(tmp_path / "a").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(AuditError, match="lines 5 to 5 are missing"):
        list(checked(tmp_path / "a", head))
    log = AuditLog(tmp_path / "b")
    log.append("call", [{"other": n} for n in range(9)], 0.0)
    with pytest.raises(AuditError, match="line 5 has hash"):
        list(checked(tmp_path / "b", head))
    assert len(list(checked(tmp_path / "b", Head()))) == 9


def test_line_that_a_power_cut_tore_is_taken_off(tmp_path: Path) -> None:
    written(tmp_path)
    with segment(tmp_path).open("ab") as file:
        file.write(b'{"seq":6,"at')
    log = AuditLog(tmp_path)
    assert log.repaired and log.head.seq == 5
    log.append("call", [{}], 0.0)
    assert len(list(checked(tmp_path, log.head))) == 6


def test_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = written(tmp_path)
    head = log.head

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit.os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            log.append("call", [{}], 0.0)
    assert log.head == head
    log.append("call", [{}], 0.0)
    assert len(list(checked(tmp_path, log.head))) == 6


def test_log_goes_on_in_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SEGMENT_BYTES", 300)
    log = written(tmp_path, 12)
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 2
    assert [line["seq"] for line in checked(tmp_path, log.head)] == list(range(1, 13))
    assert [line["seq"] for line in log.last(5)] == [8, 9, 10, 11, 12]
    sorted(tmp_path.glob("audit-*.jsonl"))[1].unlink()
    with pytest.raises(AuditError, match="was removed"):
        list(checked(tmp_path, log.head))
