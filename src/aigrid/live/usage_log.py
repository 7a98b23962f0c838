"""What requests used, written down at the gateway before it counts, and kept until it was taken.

A record is a CloudEvent 1.0 in JSON (https://cloudevents.io, `spec.md` and `json-format.md` of
1.0.2), one a line; its id is the request's, so that the same record sent twice is one. `append`
hands the line to the operating system at once: it outlives the process. `sync` makes it outlive a
power cut, a few times a second. What was acknowledged is forgotten, everything else sent again.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from aigrid.core.errors import StorageError, UnavailableError
from aigrid.core.tenancy import Usage
from aigrid.live.paths import write_aside

EVENT_TYPE = "org.aigrid.usage.v1"
SEGMENT_BYTES = 16 * 1024 * 1024
LOG_LIMIT_BYTES = 2 * 1024 * 1024 * 1024
HELD_LIMIT = 50_000
BATCH_LIMIT = 500
BATCH_BYTES = 768 * 1024
Position = tuple[int, int]


def event_of(usage: Usage, gateway: str) -> dict[str, Any]:
    """A record as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": usage.request_id,
        "source": f"/gateways/{gateway}",
        "type": EVENT_TYPE,
        "subject": usage.tenant,
        "time": _time(usage.at_s),
        "datacontenttype": "application/json",
        "data": usage.to_dict(),
    }


def _time(at_s: float) -> str:
    """Unix time as RFC 3339, in milliseconds."""
    return f"{_second(int(at_s))}.{int(at_s % 1.0 * 1e3):03d}+00:00"


@lru_cache(maxsize=8)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class UsageLog:
    """The log of one gateway; one thread uses it, but for `sync` and `acknowledge`.

    Attributes:
        folder: of the segments; None keeps everything in memory, for grids that are thrown away.
        gateway: names the writer.
        held: lines that the disk did not take; tried again with every `append` and `batch`.
    """

    folder: Path | None
    gateway: str = ""
    held: deque[bytes] = field(default_factory=deque)
    _acked: Position = (0, 0)
    _segment: int = 0
    _size: int = 0
    _file: int = -1
    _dirty: bool = False

    def __post_init__(self) -> None:
        if self.folder is None:
            self.gateway = self.gateway or "memory"
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.gateway = self.gateway or self._own_name()
            self._acked = self._read_acked()
            segments = sorted(self._numbers())
            self._segment = segments[-1] if segments else self._acked[0]
            self._acked = max(self._acked, (segments[0], 0)) if segments else self._acked
            self._open()
        except OSError as error:
            raise StorageError(
                f"usage log {self.folder}: {error.strerror}",
                next_step="check free space and permissions",
            ) from error

    # -- writing -------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether more can be written down; asked before a request is let in.

        Raises:
            UnavailableError: the disk takes no more, and memory is used up.
        """
        if len(self.held) >= HELD_LIMIT or self.backlog_bytes > LOG_LIMIT_BYTES:
            raise UnavailableError(
                "usage cannot be written down any more",
                next_step="free disk space at the gateway, or bring the control plane back",
            )

    def append(self, usage: Usage) -> None:
        """Write a record down; where the disk is full it is held until there is room."""
        line = msgspec.json.encode(event_of(usage, self.gateway)) + b"\n"
        self.held.append(line)
        self._write_held()

    def _write_held(self) -> None:
        while self.held and self.folder is not None:
            if not self._write(self.held[0]):
                return
            self.held.popleft()

    def _write(self, line: bytes) -> bool:
        try:
            if self._file < 0:
                self._open()
            if self._size >= SEGMENT_BYTES:
                self._next_segment()
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, self._size)
                return False
        except OSError:
            return False
        self._size += len(line)
        self._dirty = True
        return True

    def _next_segment(self) -> None:
        os.fsync(self._file)
        self.close()
        self._segment += 1
        self._open()

    def _open(self) -> None:
        path = self._path(self._segment)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = _cut_torn_line(self._file)

    @property
    def dirty(self) -> bool:
        """Whether something would not outlive a power cut yet."""
        return self._dirty

    def sync(self) -> None:
        """Make what was written outlive a power cut."""
        if self._file >= 0:
            self._dirty = False
            os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # -- reading -------------------------------------------------------------------------------

    def batch(self) -> tuple[list[dict[str, Any]], Position]:
        """The oldest records that were not acknowledged, and the position behind them."""
        if self.folder is None:
            lines = list(self.held)[:BATCH_LIMIT]
            return [msgspec.json.decode(line) for line in lines], (0, len(lines))
        self._write_held()
        segment, offset = self._acked
        while segment < self._segment and offset >= _size(self._path(segment)):
            segment, offset = segment + 1, 0
        events: list[dict[str, Any]] = []
        path = self._path(segment)
        if not path.exists():
            return events, (segment, offset)
        with path.open("rb") as file:
            file.seek(offset)
            read = 0
            for line in file:
                if not line.endswith(b"\n") or len(events) >= BATCH_LIMIT or read > BATCH_BYTES:
                    break
                events.append(msgspec.json.decode(line))
                read += len(line)
        return events, (segment, offset + read)

    def acknowledge(self, position: Position) -> None:
        """Forget what stands before a position."""
        if self.folder is None:
            for _ in range(position[1]):
                self.held.popleft()
            return
        self._acked = position
        write_aside(self.folder / "acked.json", json.dumps(position).encode(), mode=0o600)
        for number in self._numbers():
            if number < position[0]:
                self._path(number).unlink()

    @property
    def backlog_bytes(self) -> int:
        """Written down and not acknowledged."""
        segment, offset = self._acked
        return (self._segment - segment) * SEGMENT_BYTES + self._size - offset

    # -- files ---------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"usage-{number:09d}.jsonl"

    def _numbers(self) -> list[int]:
        assert self.folder is not None
        return [int(path.stem.removeprefix("usage-")) for path in self.folder.glob("usage-*.jsonl")]

    def _read_acked(self) -> Position:
        assert self.folder is not None
        try:
            segment, offset = json.loads((self.folder / "acked.json").read_text())
        except (FileNotFoundError, ValueError):
            return (0, 0)
        return int(segment), int(offset)

    def _own_name(self) -> str:
        assert self.folder is not None
        path = self.folder / "gateway"
        if not path.exists():
            write_aside(path, secrets.token_hex(8).encode(), mode=0o600)
        return path.read_text()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cut_torn_line(descriptor: int) -> int:
    """Take off a last line that a power cut tore; the size that is left."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start = max(0, size - BATCH_BYTES)
    tail = os.pread(descriptor, size - start, start)
    whole = start + tail.rfind(b"\n") + 1
    if whole != size:
        os.ftruncate(descriptor, whole)
    return whole
