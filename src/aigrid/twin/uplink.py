"""The way of a site's messages to the control plane: they may be lost, late, doubled, overtaken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aigrid.twin.scenario import BeatLoss
from aigrid.twin.simulation import Simulation


class Uplink:
    """One site's messages; without faults each arrives at once.

    Args:
        simulation: the clock.
        rng: of this way alone.
    """

    def __init__(self, simulation: Simulation, rng: np.random.Generator) -> None:
        self._simulation, self._rng = simulation, rng
        self._faults: list[BeatLoss] = []

    def begin(self, fault: BeatLoss) -> None:
        """A fault begins, beside those that last."""
        self._faults.append(fault)

    def end(self, fault: BeatLoss) -> None:
        """It is over."""
        self._faults.remove(fault)

    def send(self, arrive: Callable[[], None]) -> None:
        """Let a message arrive, now or later, once, twice or never."""
        if not self._faults:
            arrive()
            return
        if self.loses():
            return
        copies = 1 + any(self._chance(fault.doubled) for fault in self._faults)
        latest_s = max(fault.delay_s for fault in self._faults)
        for _ in range(copies):
            self._simulation.after(float(self._rng.random()) * latest_s, arrive)

    def loses(self) -> bool:
        """Whether a message, or an answer, is lost now."""
        return any(self._chance(fault.lost) for fault in self._faults)

    def _chance(self, probability: float) -> bool:
        return float(self._rng.random()) < probability
