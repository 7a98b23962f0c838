# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""One digest over every decision and outcome of a run."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def _fold(words):
    """Fold an array to 64 bits: any bit that changes, or changes place, changes them.

    Eight lanes of xor and multiplication by an odd constant, each step a bijection of the lane.
    """
    a, b, c, d = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    e, f, g, h = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)
    whole = len(words) // 8 * 8
    for at in range(0, whole, 8):
        a, b = _step(a, words[at]), _step(b, words[at + 1])
        c, d = _step(c, words[at + 2]), _step(d, words[at + 3])
        e, f = _step(e, words[at + 4]), _step(f, words[at + 5])
        g, h = _step(g, words[at + 6]), _step(h, words[at + 7])
    for at in range(whole, len(words)):
        a = _step(a, words[at])
    for lane in (b, c, d, e, f, g, h):
        a = _step(a, lane)
    return a


@njit(cache=True, nogil=True, inline="always")
def _step(lane, word):
    lane = (lane ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    return lane ^ (lane >> np.uint64(29))


def folded(values: NDArray[Any]) -> int:
    """64 bits of an array's bytes, taken eight at a time where there are so many."""
    flat = np.ascontiguousarray(values).reshape(-1)
    size = 8 if flat.nbytes % 8 == 0 else flat.dtype.itemsize
    words = flat.view({1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[size])
    return int(_fold(words))


class Trace:
    """SHA-256 over what it is told, in order; large arrays enter folded."""

    def __init__(self, head: str) -> None:
        self._hash = hashlib.sha256(head.encode())

    def add(self, *values: NDArray[Any]) -> None:
        """Take in arrays."""
        for array in values:
            self.add_folded(folded(array))

    def add_folded(self, bits: int) -> None:
        """Take in an array that `folded` has folded already."""
        self._hash.update(bits.to_bytes(8, "little"))

    def hexdigest(self) -> str:
        """So far."""
        return self._hash.hexdigest()
