"""What a radio front-end and its site tell each other, in a memory-mapped file.

The file outlives both sides. Either part of it (status, command) is kept twice: a writer fills the
older copy and a reader takes the newest one whose checksum holds. So nobody ever waits, a torn
copy is never believed, and a writer killed half-way leaves the copy before it readable.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConflictError, StorageError, UnavailableError

_MAGIC = b"aigridRC"
_VERSION = 1
_HEADER = struct.Struct("<8sII")
_STAMP = struct.Struct("<QI4x")
_STATUS = struct.Struct("<QQQIIqqqqdddd")
_COMMAND = struct.Struct("<dq")
_COPY_BYTES = 256
_STATUS_AT = 64
_COMMAND_AT = _STATUS_AT + 2 * _COPY_BYTES
_FILE_BYTES = 4096
_READ_TRIES = 64

STARTING, RUNNING, STOPPED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class RadioStatus:
    """State of a front-end after a slot. Counters go on over restarts; times are CLOCK_MONOTONIC.

    Attributes:
        slots_on_time: slots finished before their deadline.
        slots_missed: slots finished late or dropped.
        slots_dropped: those of the missed that were never begun.
        state: `STARTING`, `RUNNING` or `STOPPED`.
        pid: of the writer.
        slot_ns: length of a slot.
        deadline_ns: from the end of a slot's reception to the end of its processing.
        next_slot_ns: when the reception ends of the slot that is processed now or waited for.
        updated_ns: when this was written.
        load: PRB utilisation, exponentially averaged over about 150 ms.
        need_mean: processor time of processing / slot length, mean of the window; 0.2 is 20% of a
            core.
        need_high: 99th percentile of the same.
        latency_high_ms: 99th percentile of reception's end to processing's end.
    """

    slots_on_time: int = 0
    slots_missed: int = 0
    slots_dropped: int = 0
    state: int = STARTING
    pid: int = 0
    slot_ns: int = 1_000_000
    deadline_ns: int = 1_000_000
    next_slot_ns: int = 0
    updated_ns: int = 0
    load: float = 0.0
    need_mean: float = 0.0
    need_high: float = 0.0
    latency_high_ms: float = 0.0

    def is_fresh(self, now_ns: int, limit_ns: int = 1_000_000_000) -> bool:
        """Whether the writer runs and has written within the limit."""
        return self.state == RUNNING and 0 <= now_ns - self.updated_ns <= limit_ns

    def is_busy(self, now_ns: int) -> bool:
        """Whether a received slot is being processed or waits for it."""
        return self.state == RUNNING and now_ns >= self.next_slot_ns


@dataclass(frozen=True, slots=True)
class LoadOverride:
    """A load that replaces the profile's until a time; NaN for none.

    Attributes:
        load: PRB utilisation 0 to 1, or NaN.
        until_ns: CLOCK_MONOTONIC.
    """

    load: float = math.nan
    until_ns: int = 0

    def in_force(self, now_ns: int) -> bool:
        """Whether it holds now."""
        return self.load == self.load and now_ns < self.until_ns


class RadioCounters:
    """One mapped counters file; make it with `create` (the front-end) or `open` (everyone else)."""

    def __init__(self, path: Path, descriptor: int, *, writer: bool) -> None:
        self.path = path
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, _FILE_BYTES)
        self._status = _TwoCopies(self._map, _STATUS_AT, _STATUS, one_writer=True)
        self._command = _TwoCopies(self._map, _COMMAND_AT, _COMMAND, one_writer=False)
        self._writer = writer

    @classmethod
    def create(cls, path: Path) -> RadioCounters:
        """Open for writing; a file of the same version is taken over with its counts.

        Raises:
            ConflictError: another front-end writes it.
            StorageError: it cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_current(path):
                _make_file(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(
                f"counters file {path}: {error.strerror}",
                next_step="give a path on a disk that can be written",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConflictError(
                f"counters file {path}: another radio front-end writes it",
                next_step="stop that one, or give this one another file",
            ) from error
        return cls(path, descriptor, writer=True)

    @classmethod
    def open(cls, path: Path) -> RadioCounters:
        """Open for reading and commanding.

        Raises:
            UnavailableError: there is no such file yet, or it is of another version.
        """
        if not _is_current(path):
            raise UnavailableError(
                f"counters file {path}: missing or of another version",
                next_step="start the radio front-end that writes it",
            )
        return cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC), writer=False)

    def read(self) -> RadioStatus:
        """The newest status; all zeros before the first."""
        values = self._status.read()
        return RadioStatus(*values) if values else RadioStatus()

    def write(self, status: RadioStatus) -> None:
        """Publish a status (the one writer only)."""
        self.write_values(*astuple(status))

    def write_values(self, *values: float) -> None:
        """Publish a status given as its fields in order: the slot loop's path, no object made."""
        if not self._writer:
            raise ConflictError(f"counters file {self.path}: opened for reading")
        self._status.write(*values)

    def set_load_override(self, load: float, until_ns: int) -> None:
        """Ask the front-end to run at a load until a time; a load of NaN takes it back.

        Raises:
            ValueError: the load is neither NaN nor within 0 to 1.
        """
        if not (math.isnan(load) or 0.0 <= load <= 1.0):
            raise ValueError(f"load {load!r} is outside 0 to 1")
        self._command.write(load, until_ns)

    def load_override(self) -> LoadOverride:
        """The command as it stands, in force or not."""
        values = self._command.read()
        return LoadOverride(*values) if values else LoadOverride()

    def close(self) -> None:
        """Unmap the file; it stays on disk."""
        self._map.close()
        os.close(self._descriptor)

    def __enter__(self) -> RadioCounters:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _TwoCopies:
    """A record kept twice, each copy with a sequence number and a checksum over both."""

    def __init__(
        self, memory: mmap.mmap, at: int, record: struct.Struct, *, one_writer: bool
    ) -> None:
        self._memory, self._at, self._record = memory, at, record
        self._one_writer = one_writer
        self._seen = 0
        self._sequence = self._newest()[0]

    def write(self, *values: float) -> None:
        sequence = (self._sequence if self._one_writer else self._newest()[0]) + 1
        payload = self._record.pack(*values)
        start = self._at + (sequence & 1) * _COPY_BYTES
        body = start + _STAMP.size
        self._memory[body : body + len(payload)] = payload
        self._memory[start:body] = _STAMP.pack(sequence, _checksum(sequence, payload))
        self._sequence = sequence

    def read(self) -> tuple[Any, ...] | None:
        payload = self._newest()[1]
        return self._record.unpack(payload) if payload else None

    def _newest(self) -> tuple[int, bytes]:
        """The newest whole copy, never older than one seen before.

        A reader held up between the two copies may find one it knows to be old and one torn.
        """
        best = (0, b"")
        for _ in range(_READ_TRIES):
            best = max(best, self._copy(0), self._copy(1))
            if best[0] and best[0] >= self._seen:
                self._seen = best[0]
                return best
            if not any(self._memory[self._at : self._at + 2 * _COPY_BYTES]):
                break
        return best

    def _copy(self, index: int) -> tuple[int, bytes]:
        start = self._at + index * _COPY_BYTES
        raw = self._memory[start : start + _STAMP.size + self._record.size]
        sequence, checksum = _STAMP.unpack_from(raw)
        payload = raw[_STAMP.size :]
        return (sequence, payload) if checksum == _checksum(sequence, payload) else (0, b"")


def _checksum(sequence: int, payload: bytes) -> int:
    # Never 0 for a real record by accident of a zeroed file: the start value is not 0.
    return zlib.crc32(payload, (sequence ^ 0x5AFE5107) & 0xFFFFFFFF)


def _is_current(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    return size == _FILE_BYTES and head == _HEADER.pack(_MAGIC, _VERSION, _FILE_BYTES)


def _make_file(path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _FILE_BYTES).ljust(_FILE_BYTES, b"\0"))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
