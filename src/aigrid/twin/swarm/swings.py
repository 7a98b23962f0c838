"""Counts how often values swing to and fro."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A smaller move is no swing: measured load is never quite the same.
SWING = 0.3


class Swings:
    """Turns of many values, each a move against the one before it by `SWING` or more."""

    def __init__(self) -> None:
        self._far: NDArray[np.float32] | None = None
        self._way = np.zeros(0, np.int8)
        self.turns = np.zeros(0, np.int32)

    def see(self, values: NDArray[np.float32]) -> None:
        """The next values; another shape begins anew."""
        if self._far is None or self._far.shape != values.shape:
            self._far = values.copy()
            self._way = np.zeros(values.shape, np.int8)
            self.turns = np.zeros(values.shape, np.int32)
            return
        move = values - self._far
        way = np.where(move >= SWING, 1, np.where(move <= -SWING, -1, 0)).astype(np.int8)
        self.turns += (way != 0) & (self._way != 0) & (way != self._way)
        further = np.sign(move) == self._way
        self._far = np.where((way != 0) | further, values, self._far)
        self._way = np.where(way != 0, way, self._way)
