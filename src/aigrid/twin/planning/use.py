"""How much of the time planned devices run something, by time of day: what energy is paid for.

A device that runs a batch of one is as busy as with a full batch, so that use rises faster than
load; the rehearsal counts likewise (`fluid.sites.serve`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid.demand import DAY_S
from aigrid.twin.models.money import DAYS_A_YEAR
from aigrid.twin.planning.options import USES

Floats = NDArray[np.float64]


def period_s(periods: int) -> float:
    """Seconds of a year that are in one period of the day."""
    return DAYS_A_YEAR * DAY_S / periods


def in_use(busy: Floats, load: Floats) -> Floats:
    """Part of the time that something runs, row by row.

    Args:
        busy: (R, USES) of loads evenly from 0 to 1.
        load: (R, T) mean of each period, of the device seconds that there are.

    Returns:
        (R, T)
    """
    at = np.clip(load, 0.0, 1.0) * (USES - 1)
    low = np.minimum(at.astype(np.int64), USES - 2)
    rows = np.arange(len(busy))[:, None]
    part = at - low
    found: Floats = busy[rows, low] * (1.0 - part) + busy[rows, low + 1] * part
    return found


def mean_load(rate: Floats, year: Floats, work_s: Floats, devices: Floats) -> Floats:
    """Mean load of each period.

    Args:
        rate: (R, S, T) requests a second that are planned for.
        year: (S, T) requests of a year for one of them.
        work_s: (R, S) device seconds of a request.
        devices: (R, T) or (R, 1).

    Returns:
        (R, T)
    """
    seconds = (rate * year[None] * work_s[:, :, None]).sum(axis=1)
    return np.asarray(seconds / period_s(year.shape[1]) / np.maximum(devices, 1e-12), np.float64)
