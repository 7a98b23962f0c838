"""How fast the recorded machine is from moment to moment: the first part's moments, drawn anew.

A block bootstrap (Kuensch, "The jackknife and the bootstrap for general stationary observations",
Annals of Statistics 17(3), 1989): stretches of `BLOCK_S` of the first part follow one another in an
order of chance, so that slow spells last as long as they did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.mirror.calibration import WINDOW_S

BLOCK_S = 2.0


class Machine:
    """One machine that all sites share.

    Args:
        slowness: (W,) of each `WINDOW_S` of the first part, 1 on average.
        rng: of this machine alone.
    """

    def __init__(self, slowness: NDArray[np.float64], rng: np.random.Generator) -> None:
        self._slowness, self._rng = slowness, rng
        self._starts: list[int] = []

    def slowness(self, now_s: float) -> float:
        """How many times longer work takes at a time; the same again when asked again."""
        window, per_block = int(now_s / WINDOW_S), round(BLOCK_S / WINDOW_S)
        block, place = divmod(window, per_block)
        while len(self._starts) <= block:
            self._starts.append(int(self._rng.integers(len(self._slowness))))
        return float(self._slowness[(self._starts[block] + place) % len(self._slowness)])
