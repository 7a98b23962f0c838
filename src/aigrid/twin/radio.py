"""The radio of a simulated tower: load, need of compute, slots on time and missed.

The need of a slot is a fixed part for every cell and a part per scheduled resource block, antenna
and layer (FFT, channel estimation, equalisation and demapping all walk over these); cells of
numerology mu have 2**mu slots a millisecond and need as much more. Slots are nearly full or nearly
empty, as `radio.profile` schedules them, drawn anew for each slot: how often the deadline is missed
depends on how many slots are full, not on which. Sharing is spatial: AI that works keeps the cores
of its share, and a slot that needs more than the rest is missed.
"""

from __future__ import annotations

import math

import numpy as np

from aigrid.core.site import Cell
from aigrid.radio.topology import PlannedSite, Profile
from aigrid.twin.scenario import Physics

NEED_QUANTILE = 0.99


class SimulatedRadio:
    """All cells of one site.

    Args:
        planned: the site and its load profile.
        physics: cost of a slot.
        rng: of this radio alone.
    """

    def __init__(self, planned: PlannedSite, physics: Physics, rng: np.random.Generator) -> None:
        assert planned.profile is not None
        self._profile: Profile = planned.profile
        self._cores = planned.site.compute_cores
        self._rng, self._physics = rng, physics
        cells = planned.site.cells
        self._slot_s = min(cell.slot_ms for cell in cells) / 1000.0
        self._full = np.array([self._full_cores(cell) for cell in cells])
        self._forced_load, self._forced_until_s = 0.0, -1.0
        self._slots_seen = 0
        self._window: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
        self.on_time = self.missed = 0
        self.need_cores = self.cores_needed(self.load(0.0))

    def _full_cores(self, cell: Cell) -> float:
        per_slot = cell.resource_blocks * cell.antennas * cell.layers
        return self._physics.prb_cores * per_slot * (1 << cell.numerology)

    def load(self, now_s: float) -> float:
        """Mean utilisation now."""
        if now_s < self._forced_until_s:
            return self._forced_load
        return self._profile.utilisation_at(now_s)

    def force(self, load: float, until_s: float) -> None:
        """Let the load be this, whatever the profile says, until then."""
        self._forced_load, self._forced_until_s = load, until_s

    def cores_needed(self, load: float) -> float:
        """Compute in a slot in which every cell is busy."""
        filled = load + self._profile.burstiness * (1.0 - load) if load > 0.0 else 0.0
        return float(self._physics.slot_cores * len(self._full) + filled * self._full.sum())

    def advance(self, now_s: float, ai_cores: float) -> None:
        """Let slots pass up to now, during which AI kept `ai_cores` busy."""
        seen = int(now_s / self._slot_s)
        slots, self._slots_seen = seen - self._slots_seen, seen
        if slots <= 0:
            return
        need = self._needs(slots, self.load(now_s))
        missed = int((need > self._cores - ai_cores + 1e-9).sum())
        self.missed += missed
        self.on_time += slots - missed
        self._window.append(need)

    def _needs(self, slots: int, load: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Compute each slot needs, in cores: (slots,)."""
        burst = self._profile.burstiness
        busy = self._rng.random((slots, len(self._full))) < load
        filled = np.where(busy, load + burst * (1.0 - load), load * (1.0 - burst))
        needs: np.ndarray[tuple[int], np.dtype[np.float64]] = (
            self._physics.slot_cores * len(self._full) + filled @ self._full
        )
        return needs

    def measure(self) -> float:
        """The high quantile of what slots needed since the last call, in cores."""
        if self._window:
            together = np.concatenate(self._window)
            # The quantile by the method "higher"; numpy's own takes ten times as long.
            at = math.ceil(NEED_QUANTILE * (len(together) - 1))
            self.need_cores = float(np.partition(together, at)[at])
            self._window = []
        return self.need_cores
