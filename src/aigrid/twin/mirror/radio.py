"""The radio of a mirrored site: what its heartbeats said, when they said it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from aigrid.radio.topology import PlannedSite
from aigrid.twin.mirror.recorded import Beat
from aigrid.twin.radio import SimulatedRadio
from aigrid.twin.scenario import Physics


class RecordedRadio(SimulatedRadio):
    """Load, need and slots as recorded: they are the input of a prediction, not its result.

    Args:
        planned: the site.
        physics: unused beyond what the base needs.
        beats: of the site, in order.
        zero_s: recorded time at which simulated time begins.
    """

    def __init__(
        self, planned: PlannedSite, physics: Physics, beats: Sequence[Beat], zero_s: float
    ) -> None:
        # First of all, because the base asks for the load while it is being made.
        self._beats = beats or [Beat(zero_s, 0.0, planned.site.compute_cores, 0, 0)]
        self._at_s = [beat.at_s - zero_s for beat in self._beats]
        self._now_s = 0.0
        super().__init__(planned, physics, np.random.default_rng(0))

    def load(self, now_s: float) -> float:
        """As the last heartbeat before said."""
        self._now_s = now_s
        return self._latest().load

    def measure(self) -> float:
        """The need that it said."""
        self.need_cores = self._latest().need_cores
        return self.need_cores

    def advance(self, now_s: float, ai_cores: float) -> None:
        """Slots pass as they were counted, whatever AI does here."""
        self._now_s = now_s
        latest = self._latest()
        self.on_time, self.missed = latest.slots_on_time, latest.slots_missed

    def _latest(self) -> Beat:
        return self._beats[max(0, bisect_right(self._at_s, self._now_s) - 1)]
