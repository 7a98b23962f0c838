"""The sites of a country as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import SITE_KINDS

FACTORY, HUB, TOWER = (SITE_KINDS.index(kind) for kind in ("factory", "hub", "tower"))


@dataclass(frozen=True, slots=True)
class Network:
    """N sites, one row each: factories first, then hubs, then towers, those of one hub together.

    Attributes:
        names: (N,) numpy strings, unique.
        kind: (N,) int8, index into `core.site.SITE_KINDS`.
        region: (N,) int16, index into `regions`.
        latitude_deg: (N,) float64, WGS 84.
        longitude_deg: (N,) float64, WGS 84.
        parent: (N,) int32, row of the site above; -1 for a root.
        device: (N,) int8, index into the scenario's devices.
        devices: (N,) float64, how many of them the site has.
        cells: (N,) int16, radio cells; 0 where there is no radio.
        shape: (N,) index into the scenario's radio shapes, and beyond them into its own loads;
            int8, or int32 where there are many of those.
        peak_load: (N,) float64, mean PRB utilisation of its cells in the busiest hour, 0 to 1.
        customers: (N,) float64, who stand under its cells on average.
        regions: names of the regions (ISO 3166-2, `JP-13`).
    """

    names: NDArray[np.str_]
    kind: NDArray[np.int8]
    region: NDArray[np.int16]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    parent: NDArray[np.int32]
    device: NDArray[np.int8]
    devices: NDArray[np.float64]
    cells: NDArray[np.int16]
    shape: NDArray[np.int8] | NDArray[np.int32]
    peak_load: NDArray[np.float64]
    customers: NDArray[np.float64]
    regions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kind)
