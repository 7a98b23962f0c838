# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""What the radio may need when its load is known by a forecast only, by quantiles of two levels.

A forecast leaves the log of a minute's load normal around its median; given the load, the need of a
slot is the binomial mixture of `models.slots`. What is kept for the radio is the need that is
exceeded with a small probability over both at once,

    P(need > kept) = integral of P(need > kept | load = median * e^(spread * z)) * phi(z) dz,

instead of the quantile of a slot at a quantile of the load, which is far more careful than either.
The integral is a sum over steps of z, each with the load of its upper end: it errs upwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.fluid.radio_kernels import LOG_OFFSET
from aigrid.twin.models.slot_kernels import miss_at
from aigrid.twin.models.slots import SLOT_CORRELATION, NeedTable, independent_slots

Floats = NDArray[np.float64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Medians of load that are tabulated: e^LOWEST to 1, in even steps of the logarithm.
LOWEST, STEP = -7.0, 0.025
MEDIANS = round(-LOWEST / STEP) + 1
# Steps of the normal deviate, and where they end: what lies above is taken as a full load.
_Z = np.linspace(-3.0, 6.0, 145)
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Caution:
    """Need by number of cells and median of the forecast load, in devices.

    Attributes:
        slot: (cells_max + 1, MEDIANS) exceeded by `late` of slots; never falls along a row.
        sustained: (cells_max + 1, MEDIANS) exceeded by the mean over a guard period in `slow` of
            them; never above `slot`.
    """

    slot: Floats
    sustained: Floats


def caution_of(
    radio: RadioModel,
    cells: NDArray[np.integer],
    need: NeedTable,
    spread: float,
    *,
    late: float,
    slow: float,
    guard_slots: int,
) -> Caution:
    """Tabulate for the numbers of cells that there are.

    Args:
        radio: need of compute.
        cells: of the sites, any shape.
        need: tables of slots given the load.
        spread: standard deviation of the log load around its forecast.
        late: part of slots that may need more than `slot`, 0 to 1.
        slow: part of guard periods that may need more than `sustained`, 0 to 1.
        guard_slots: slots of a guard period.
    """
    slot, sustained = (np.zeros((len(need.survival), MEDIANS)) for _ in range(2))
    numbers = np.array([radio.fixed, radio.per_load, radio.burstiness])
    rows = np.unique(cells)
    weight = _weights()
    loads = np.minimum(np.exp(LOWEST + STEP * np.arange(MEDIANS)[:, None] + spread * _Z), 1.0)
    slots = independent_slots(guard_slots, SLOT_CORRELATION)
    _slot_needs(rows[rows > 0], loads, weight, need.survival, numbers, late, slot)
    _mean_needs(rows[rows > 0], loads, weight, slots, numbers, slow, sustained)
    # A higher median needs no less: `radio.least_share` finds the last one that fits by halving.
    np.maximum.accumulate(slot, axis=1, out=slot)
    return Caution(slot, np.minimum(slot, sustained))


def _weights() -> Floats:
    """Probability of each step of z up to its upper end; the last one takes the rest."""
    below = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _Z])
    below[-1] = 1.0
    return np.diff(below, prepend=0.0)


@njit(**_OPTIONS)
def _slot_needs(rows, loads, weight, survival, numbers, late, found):
    fixed, per_load, burstiness = numbers
    for n in rows:
        for at in range(len(loads)):
            low, high = n * fixed, n * (fixed + per_load)
            for _ in range(_HALVINGS):
                kept, missed = 0.5 * (low + high), 0.0
                for step in range(len(weight)):
                    load = loads[at, step]
                    missed += weight[step] * miss_at(
                        survival, n, load, kept, fixed, per_load, burstiness
                    )
                low, high = (kept, high) if missed > late else (low, kept)
            found[n, at] = high


@njit(**_OPTIONS)
def _mean_needs(rows, loads, weight, slots, numbers, slow, found):
    """The mean over s independent slots of n cells is taken as normal.

    With the variance of the busy part x that is asked about, x (1 - x) / (s n), not of the mean:
    the score interval of Wilson (1927), which stays right where few are busy.
    """
    fixed, per_load, burstiness = numbers
    for n in rows:
        for at in range(len(loads)):
            low, high = n * fixed, n * (fixed + per_load)
            for _ in range(_HALVINGS):
                kept, over = 0.5 * (low + high), 0.0
                for step in range(len(weight)):
                    load = loads[at, step]
                    base = fixed + per_load * load * (1.0 - burstiness)
                    busy = min(max((kept / n - base) / (per_load * burstiness + 1e-12), 0.0), 1.0)
                    spread = math.sqrt(2.0 * busy * (1.0 - busy) / (slots * n)) + 1e-12
                    over += weight[step] * 0.5 * math.erfc((busy - load) / spread)
                low, high = (kept, high) if over > slow else (low, kept)
            found[n, at] = high


@njit(**_OPTIONS)
def at_median(log_load):
    """Column of the next higher median."""
    return int(max(min(math.ceil((log_load - LOWEST) / STEP), MEDIANS - 1), 0))


@njit(**_OPTIONS)
def places(cells, forecast, found):
    """Where the tables, laid flat, have the need of sites.

    Args:
        cells: of each.
        forecast: median of the log of load, plus `LOG_OFFSET`.
        found: uint32, to fill.
    """
    for row in range(len(found)):
        found[row] = np.uint32(cells[row] * MEDIANS + at_median(forecast[row] - LOG_OFFSET))


@njit(**_OPTIONS)
def needs(slot, sustained, place, preemption, need, slot_need):
    """What to keep for the radio, in devices; 0 where there is none.

    Args:
        slot: of `Caution`, laid flat.
        sustained: likewise.
        place: of `places`.
        preemption: below 1 where sharing is temporal.
        need: to fill, that a share must leave the radio: of a slot where sharing is spatial, of a
            guard period's mean where it is temporal.
        slot_need: to fill, of a slot.
    """
    for row in range(len(need)):
        at = np.uint64(place[row])
        slot_need[row] = slot[at]
        need[row] = sustained[at] if preemption[row] < 1.0 else slot[at]
