# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""The radio of every site, minute by minute: load, need of compute, missed slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import chance
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.models.shapes import MINUTES, radio_shape
from aigrid.twin.models.slot_kernels import miss_at, quantile_need
from aigrid.twin.models.slots import NeedTable, need_table

Floats = NDArray[np.float64]
# Forecasts know no values below 0.
LOG_OFFSET = 25.0
SMALLEST = 1e-6
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@dataclass(slots=True)
class RadioState:
    """Columns of N sites that change each minute.

    Attributes:
        deviation: (N,) float32, of log load from its daily shape, in standard deviations.
        seen: (N,) float64 log of the mean load, plus `LOG_OFFSET`, as measured last.
        miss: (N,) float64 expected part of slots that were missed.
        miss_sum: (N,) float64, over minutes.
        used_sum: (N,) float64, over minutes.
    """

    deviation: NDArray[np.float32]
    seen: Floats
    miss: Floats
    miss_sum: Floats
    used_sum: Floats


@dataclass(frozen=True, slots=True)
class RadioTables:
    """What the kernels look up.

    Attributes:
        need: of slots.
        log_shapes: (shapes, 1440) log of the part of the busiest hour's load.
        log_peak: (N,) log of the load in the busiest hour.
        normals: of `chance`.
        numbers: (5,) fixed, per_load, burstiness, memory, spread.
    """

    need: NeedTable
    log_shapes: Floats
    log_peak: Floats
    normals: NDArray[np.float32]
    numbers: Floats


def tables_of(country: Country, guard_slots: int) -> RadioTables:
    """Tables of a country; `guard_slots` of a period over which the guard holds a share."""
    radio = country.radio
    cells = max(int(country.network.cells.max(initial=1)), 1)
    return RadioTables(
        need_table(radio, cells, guard_slots=guard_slots),
        np.log(np.maximum([radio_shape(name) for name in country.radio_shapes], SMALLEST)),
        np.log(np.maximum(country.network.peak_load, SMALLEST)),
        chance.normals(),
        np.array(
            [radio.fixed, radio.per_load, radio.burstiness, radio.memory, radio.spread], np.float64
        ),
    )


def at_rest(sites: int) -> RadioState:
    """Before the first minute."""
    return RadioState(np.zeros(sites, np.float32), *(np.zeros(sites, np.float64) for _ in range(4)))


def minute_of_radio(
    ground: Ground,
    tables: RadioTables,
    state: RadioState,
    share: Floats,
    minute: int,
    start: np.uint64,
    memory: float,
    rows: slice,
) -> tuple[float, float]:
    """One minute of the sites in `rows`, in place.

    Args:
        ground: what stays.
        tables: to look up.
        state: to change.
        share: (N,) AI shares in force.
        minute: of the day.
        start: of `chance.key`.
        memory: correlation with the minute before; 0 draws anew.
        rows: contiguous.

    Returns:
        devices that the radio keeps busy, and the sum of `miss`.
    """
    network = ground.network
    found: tuple[float, float] = _minute(
        rows.start,
        rows.stop,
        start,
        memory,
        np.ascontiguousarray(tables.log_shapes[:, minute % MINUTES]),
        tables.normals,
        tables.numbers,
        tables.need.survival,
        network.shape,
        tables.log_peak,
        network.cells,
        ground.compute,
        ground.preemption,
        share,
        state.deviation,
        state.seen,
        state.miss,
        state.miss_sum,
        state.used_sum,
    )
    return found


@njit(**_OPTIONS)
def _minute(
    first,
    last,
    start,
    memory,
    shapes,
    normals,
    numbers,
    survival,
    shape,
    peak,
    cells,
    compute,
    preemption,
    share,
    deviation,
    seen,
    miss,
    miss_sum,
    used_sum,
):
    fixed, per_load, burstiness, spread = numbers[0], numbers[1], numbers[2], numbers[4]
    fresh = np.sqrt(1.0 - memory * memory)
    all_used, all_missed = 0.0, 0.0
    for row in range(first, last):
        n = cells[row]
        if n == 0:
            continue
        z = chance.tailed(chance.draw(start, row), normals)
        z = memory * deviation[row] + fresh * z
        deviation[row] = z
        level = min(shapes[shape[row]] + peak[row] + spread * z - 0.5 * spread * spread, 0.0)
        seen[row] = level + LOG_OFFSET
        load = chance.exponential(level)
        temporal = preemption[row] < 1.0
        kept = compute[row] * (1.0 - share[row])
        if temporal:
            kept = compute[row] * (1.0 - preemption[row]) if share[row] > 0.0 else compute[row]
        missed = miss_at(survival, n, load, kept, fixed, per_load, burstiness)
        used = min(n * (fixed + per_load * load), compute[row])
        miss[row] = missed
        miss_sum[row] += missed
        used_sum[row] += used
        all_used += used
        all_missed += missed
    return all_used, all_missed


def needs_at(
    ground: Ground,
    tables: RadioTables,
    forecast: Floats,
    need: Floats,
    slot_need: Floats,
    rows: slice,
) -> None:
    """What the radio needs at a forecast load.

    Args:
        ground: what stays.
        tables: to look up.
        forecast: log of load of `rows`, plus `LOG_OFFSET`.
        need: (N,) to fill, devices that a share must leave the radio: the slot quantile where
            sharing is spatial, that of a guard period's mean where it is temporal.
        slot_need: (N,) to fill, slot quantile.
        rows: contiguous.
    """
    fixed, per_load, burstiness = tables.numbers[:3]
    table = tables.need
    _needs(
        table.busy,
        table.sustained,
        ground.network.cells[rows],
        ground.preemption[rows],
        forecast,
        fixed,
        per_load,
        burstiness,
        need[rows],
        slot_need[rows],
    )


@njit(**_OPTIONS)
def _needs(
    busy, sustained, cells, preemption, forecast, fixed, per_load, burstiness, need, slot_need
):
    bins = sustained.shape[1] - 1
    for row in range(len(cells)):
        n = cells[row]
        if n == 0:
            continue
        load = chance.exponential(min(forecast[row] - LOG_OFFSET, 0.0))
        slot = quantile_need(busy, n, load, fixed, per_load, burstiness)
        slot_need[row] = slot
        need[row] = slot
        if preemption[row] < 1.0:
            need[row] = sustained[n, min(int(np.ceil(load * bins)), bins)]


def need_at_peak(ground: Ground, tables: RadioTables) -> Floats:
    """(N,) slot quantile at the busiest hour's mean load, which a fixed partition leaves free."""
    network = ground.network
    need = np.zeros(len(network))
    fixed, per_load, burstiness = tables.numbers[:3]
    _at_peak(tables.need.busy, network.cells, network.peak_load, fixed, per_load, burstiness, need)
    return need


@njit(**_OPTIONS)
def _at_peak(busy, cells, peak, fixed, per_load, burstiness, need):
    for row in range(len(cells)):
        if cells[row] > 0:
            load = min(peak[row], 1.0)
            need[row] = quantile_need(busy, cells[row], load, fixed, per_load, burstiness)
