"""The audit log: lines that are only ever added, each bound to the one before by its hash.

A line is a JSON object with `seq`, `at_s`, `kind`, `prev` and what happened; `hash` is SHA-256 over
the canonical bytes of all other fields, and `prev` is the hash of the line before. A line that was
edited has a wrong hash; one that was removed or moved breaks `seq` and `prev` of the next. What
was cut off at the end is found by the head, which the database keeps as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.core.errors import AigridError, IntegrityError, StorageError
from aigrid.core.package import canonical_json

FIRST = "0" * 64
SEGMENT_BYTES = 64 * 1024 * 1024
LINE_LIMIT_BYTES = 1024 * 1024


class AuditError(IntegrityError):
    """A line of the audit log is not what was written; the message names it."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log has come: the number and hash of its last line."""

    seq: int = 0
    hash: str = FIRST


@dataclass(slots=True)
class AuditLog:
    """Writes the log; one process, any thread.

    Attributes:
        folder: of the segments, `audit-<first seq>.jsonl`.
        head: of what is on disk.
        repaired: a last line without its end was there at the start, and was taken off: it was
            never confirmed to anybody.
    """

    folder: Path
    head: Head = field(default_factory=Head)
    repaired: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            segments = _segments(self.folder)
            if segments:
                self.repaired = _cut_torn_line(segments[-1])
                self.head = _last_of(segments)
        except OSError as error:
            raise _trouble(self.folder, error) from error

    def append(self, kind: str, entries: Iterable[dict[str, Any]], at_s: float) -> Head:
        """Add lines, and come back when they are on disk.

        Args:
            kind: what happened: `call`, `result`, `request`, ...
            entries: the lines' other fields.
            at_s: Unix time.

        Returns:
            the new head; the lines have the numbers up to it.

        Raises:
            StorageError: the disk does not take them; none of them is in the log then.
        """
        with self._lock:
            head, lines = self.head, []
            for entry in entries:
                body = {"seq": head.seq + 1, "at_s": round(at_s, 3), "kind": kind, **entry}
                body["prev"] = head.hash
                head = Head(head.seq + 1, _hash(body))
                lines.append(canonical_json(body | {"hash": head.hash}) + b"\n")
            if lines:
                self._write(b"".join(lines))
                self.head = head
            return head

    def _write(self, content: bytes) -> None:
        try:
            path = self._segment()
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                before = os.fstat(descriptor).st_size
                try:
                    view = memoryview(content)
                    while view:
                        view = view[os.write(descriptor, view) :]
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _trouble(self.folder, error) from error

    def _segment(self) -> Path:
        segments = _segments(self.folder)
        if segments and segments[-1].stat().st_size < SEGMENT_BYTES:
            return segments[-1]
        return self.folder / f"audit-{self.head.seq + 1:012d}.jsonl"

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line so far, checked.

        Raises:
            AuditError: see `checked`.
        """
        yield from checked(self.folder, self.head)

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last lines, oldest first; unchecked."""
        found: list[dict[str, Any]] = []
        for path in reversed(_segments(self.folder)):
            found = [json.loads(line) for line in path.read_bytes().splitlines()[-count:]] + found
            if len(found) >= count:
                break
        return found[-count:]


def checked(folder: Path, head: Head | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a log, in order, each checked against the one before.

    Args:
        folder: of the log, or of a copy.
        head: known from elsewhere; the log must have come to it, and may have gone on.

    Raises:
        AuditError: a line was edited, removed or moved, or the end is missing; names the line.
        StorageError: a file cannot be read.
    """
    before = Head()
    try:
        for path in _segments(folder):
            with path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    line, before = _check(raw, before, f"{path.name} line {number}")
                    if head is not None and before.seq == head.seq and before.hash != head.hash:
                        raise AuditError(
                            f"line {head.seq} has hash {before.hash[:12]}..., {head.hash[:12]}..."
                            " was kept: the log was written anew from there or before",
                            next_step="compare with a backup",
                        )
                    yield line
    except OSError as error:
        raise _trouble(folder, error) from error
    if head is not None and before.seq < head.seq:
        raise AuditError(
            f"lines {before.seq + 1} to {head.seq} are missing at the end of the log",
            next_step="compare with a backup",
        )


def _check(raw: bytes, before: Head, where: str) -> tuple[dict[str, Any], Head]:
    wanted = before.seq + 1
    try:
        line = json.loads(raw)
        seq, claimed = int(line["seq"]), str(line.pop("hash"))
        prev = str(line["prev"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AuditError(f"line {wanted} was edited: it is no line ({where})") from error
    if claimed != _hash(line):
        raise AuditError(f"line {wanted} was edited: its hash is wrong ({where})")
    if seq != wanted:
        what = "was removed" if seq > wanted else f"is missing: line {seq} stands in its place"
        raise AuditError(f"line {wanted} {what} or lines were reordered ({where} is line {seq})")
    if prev != before.hash:
        raise AuditError(f"line {wanted} does not follow line {before.seq} ({where})")
    return line | {"hash": claimed}, Head(seq, claimed)


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body)).hexdigest()


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def _cut_torn_line(path: Path) -> bool:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - LINE_LIMIT_BYTES)
        file.seek(start)
        tail = file.read()
        if not tail or tail.endswith(b"\n"):
            return False
        file.truncate(start + tail.rfind(b"\n") + 1)
        os.fsync(file.fileno())
    return True


def _last_of(segments: list[Path]) -> Head:
    """The head that the newest segments state; `checked` is what believes nothing."""
    for path in reversed(segments):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LINE_LIMIT_BYTES))
            lines = file.read().splitlines()
        if lines:
            try:
                last = json.loads(lines[-1])
                return Head(int(last["seq"]), str(last["hash"]))
            except (ValueError, KeyError, TypeError) as error:
                raise AuditError(
                    f"the last line of {path} was edited: it is no line",
                    next_step="restore it from a backup",
                ) from error
    return Head()


def _trouble(folder: Path, error: OSError) -> AigridError:
    return StorageError(
        f"audit log {folder}: {error.strerror}", next_step="check free space and permissions"
    )
