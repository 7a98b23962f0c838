"""How long work takes on the recorded machine, which all sites share, from moment to moment.

With weather: threads share the cores, as the kernel's fair scheduler has it: one of n engines
beside k others gets `min(1, cores / (n + crowding * k))` of a core. A weather's mean of 2.3 others
is 2 or 3 of them, drawn anew every `SLOT_S`.

Without: a block bootstrap (Kuensch, "The jackknife and the bootstrap for general stationary
observations", Annals of Statistics 17(3), 1989): stretches of `BLOCK_S` of the first part follow
one another in an order of chance, so that slow spells last as long as they did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.mirror.calibration import WINDOW_S
from aigrid.twin.mirror.weather import Weather

BLOCK_S = 2.0
# The kernel's tick at 250 Hz, at which a thread that computes makes way for the next.
SLOT_S = 0.004


class DrawnMachine:
    """The first part's moments, drawn anew.

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

    def lasts_s(self, now_s: float, work_s: float) -> float:
        """See `twin.rounds.Machine`."""
        return work_s * self.slowness(now_s)

    def enter(self, part: float) -> None:
        """Others do not matter here."""

    def leave(self, part: float) -> None:
        """Likewise."""


class WeatheredMachine:
    """Cores that engines share with one another and with what the weather says.

    Args:
        weather: of the whole recording.
        crowding: how many threads each of the weather's counts for.
        from_s: recorded time at which simulated time begins.
        until_s: recorded time up to which it is wanted.
        rng: of this machine alone.
    """

    def __init__(
        self,
        weather: Weather,
        crowding: float,
        from_s: float,
        until_s: float,
        rng: np.random.Generator,
    ) -> None:
        self._cores = weather.cores
        slots = np.arange(from_s, until_s, SLOT_S)
        crowd = weather.at(weather.crowd, slots)
        drawn = np.floor(crowd + rng.random(len(slots)))
        self._others: list[float] = (crowding * drawn).tolist()
        self._slower: list[float] = weather.at(weather.slower, slots).tolist()
        self._engines = 0.0

    def enter(self, part: float) -> None:
        """An engine begins to work this part of the time."""
        self._engines += part

    def leave(self, part: float) -> None:
        """It ends."""
        self._engines -= part

    def lasts_s(self, now_s: float, work_s: float) -> float:
        """See `twin.rounds.Machine`; the engine that asks is among those that have entered."""
        at_s, left_s, engines = now_s, work_s, max(1.0, self._engines)
        slot, last = int(at_s / SLOT_S), len(self._others) - 1
        while True:
            place = min(slot, last)
            pace = min(1.0, self._cores / (engines + self._others[place])) / self._slower[place]
            room_s = (slot + 1) * SLOT_S - at_s
            if left_s <= room_s * pace:
                return at_s + left_s / pace - now_s
            left_s -= room_s * pace
            slot += 1
            at_s = slot * SLOT_S
