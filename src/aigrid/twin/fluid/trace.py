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

    Four lanes of xor and multiplication by an odd constant, each step a bijection of the lane.
    """
    prime = np.uint64(0x9E3779B97F4A7C15)
    a, b, c, d = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    whole = len(words) // 4 * 4
    for at in range(0, whole, 4):
        a = (a ^ np.uint64(words[at])) * prime
        b = (b ^ np.uint64(words[at + 1])) * prime
        c = (c ^ np.uint64(words[at + 2])) * prime
        d = (d ^ np.uint64(words[at + 3])) * prime
        a ^= a >> np.uint64(29)
        b ^= b >> np.uint64(29)
        c ^= c >> np.uint64(29)
        d ^= d >> np.uint64(29)
    for at in range(whole, len(words)):
        a = (a ^ np.uint64(words[at])) * prime
        a ^= a >> np.uint64(29)
    for lane in (b, c, d):
        a = (a ^ lane) * prime
        a ^= a >> np.uint64(29)
    return a


def folded(values: NDArray[Any]) -> int:
    """64 bits of an array's bytes (a multiple of four of them, or fewer than eight an element)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    size = flat.dtype.itemsize
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
