"""Streams that are open at a gateway, in a mapped file: what their clients have outlives a kill.

A stream's record is written when it ends. A gateway that is killed before leaves here, for each
open stream, what had been delivered; the next start makes records of it. A page of a mapped file
belongs to the operating system, so that a count costs no more than memory does.

A slot: state (1 while open), length of what follows the counts, prompt tokens, completion tokens,
time of the last piece, then the record as JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from dataclasses import replace
from pathlib import Path

import msgspec

from aigrid.core.codec import from_plain
from aigrid.core.errors import AigridError, StorageError
from aigrid.core.tenancy import Usage

SLOT_BYTES = 1024
_HEAD = struct.Struct("<II")
_COUNTS = struct.Struct("<qqd")
_BODY = _HEAD.size + _COUNTS.size


class OpenAnswers:
    """The file of one gateway; one thread uses it.

    Args:
        path: of the file; None keeps nothing.
        slots: streams at most; more are not kept.
    """

    def __init__(self, path: Path | None, slots: int) -> None:
        self._free: list[int] = []
        self._map: mmap.mmap | None = None
        self.left: list[Usage] = []
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                size = max(os.fstat(descriptor).st_size, slots * SLOT_BYTES)
                os.posix_fallocate(descriptor, 0, size)  # a hole on a full disk would be a SIGBUS
                self._map = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise StorageError(f"{path}: {error}", next_step="check free space") from error
        for slot in range(size // SLOT_BYTES):
            found = self._read(slot)
            if found is not None:
                self.left.append(found)
        self._free = list(range(slots))[::-1]

    def forget_left(self) -> None:
        """What a killed gateway left was taken over."""
        if self._map is not None:
            for start in range(0, len(self._map), SLOT_BYTES):
                _HEAD.pack_into(self._map, start, 0, 0)
        self.left = []

    def begin(self, usage: Usage) -> int:
        """Open a slot; -1 where there is none, or the record is too long for one."""
        body = msgspec.json.encode(usage.to_dict())
        if self._map is None or not self._free or len(body) > SLOT_BYTES - _BODY:
            return -1
        slot = self._free.pop()
        start = slot * SLOT_BYTES
        _COUNTS.pack_into(self._map, start + _HEAD.size, 0, 0, usage.at_s)
        self._map[start + _BODY : start + _BODY + len(body)] = body
        _HEAD.pack_into(self._map, start, 1, len(body))  # last: a half-written slot is not open
        return slot

    def count(self, slot: int, prompt_tokens: int, completion_tokens: int, at_s: float) -> None:
        """A piece goes out."""
        if self._map is not None and slot >= 0:
            start = slot * SLOT_BYTES + _HEAD.size
            _COUNTS.pack_into(self._map, start, prompt_tokens, completion_tokens, at_s)

    def end(self, slot: int) -> None:
        """The stream's record is written."""
        if self._map is not None and slot >= 0:
            _HEAD.pack_into(self._map, slot * SLOT_BYTES, 0, 0)
            self._free.append(slot)

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _read(self, slot: int) -> Usage | None:
        assert self._map is not None
        start = slot * SLOT_BYTES
        state, length = _HEAD.unpack_from(self._map, start)
        if state != 1 or length > SLOT_BYTES - _BODY:
            return None
        prompt, made, at_s = _COUNTS.unpack_from(self._map, start + _HEAD.size)
        body = self._map[start + _BODY : start + _BODY + length]
        try:
            usage: Usage = from_plain(Usage, json.loads(body), f"slot {slot}")
        except (AigridError, ValueError):
            return None
        return replace(usage, prompt_tokens=prompt, completion_tokens=made, at_s=at_s, ended="died")
