# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""The radio of every site, minute by minute: load, need of compute, missed slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import caution, chance, radio_kernels
from aigrid.twin.fluid.caution import Caution
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.radio_kernels import BLOCK
from aigrid.twin.models.shapes import MINUTES, radio_shape
from aigrid.twin.models.slot_kernels import quantile_need
from aigrid.twin.models.slots import MISS_PROBABILITY, NeedTable, need_table

Floats = NDArray[np.float64]
SMALLEST = 1e-6
# Of the slots, the part that may be late: the limit of the radio, half of it kept for what the
# model of load does not know.
LATE = 0.5 * MISS_PROBABILITY
# Of the guard periods, the part in which AI that makes way may get less than its share.
SLOW = 0.05
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@dataclass(slots=True)
class RadioState:
    """Columns of N sites that change each minute.

    Attributes:
        deviation: (N,) float32, of log load from its daily shape, in standard deviations.
        seen: (N,) float64 log of the mean load, plus `LOG_OFFSET`, as measured last.
        given: (N,) float64 part of the compute that AI gets: its share, or what the radio leaves
            of it where AI makes way slot by slot.
        miss: (N,) float64 expected part of slots that were missed.
        miss_sum: (N,) float64, over minutes.
        used_sum: (N,) float64, over minutes.
    """

    deviation: NDArray[np.float32]
    seen: Floats
    given: Floats
    miss: Floats
    miss_sum: Floats
    used_sum: Floats


@dataclass(frozen=True, slots=True)
class RadioTables:
    """What the kernels look up.

    Attributes:
        need: of slots.
        caution: what to keep for the radio a minute ahead.
        log_shapes: (shapes, 1440) log of the part of the busiest hour's load.
        own_load: (bins, C) of `Country.own_load`, the part itself.
        log_peak: (N,) log of the load in the busiest hour.
        normals: of `chance`.
        numbers: (5,) fixed, per_load, burstiness, memory, spread.
    """

    need: NeedTable
    caution: Caution
    log_shapes: Floats
    own_load: NDArray[np.float32]
    log_peak: Floats
    normals: NDArray[np.float32]
    numbers: Floats


def tables_of(country: Country, guard_slots: int) -> RadioTables:
    """Tables of a country; `guard_slots` of a period over which the guard holds a share."""
    radio = country.radio
    cells = max(int(country.network.cells.max(initial=1)), 1)
    need = need_table(radio, cells, guard_slots=guard_slots)
    spread = rise_spread(radio.spread, radio.memory, 1.0)
    return RadioTables(
        need,
        caution.caution_of(
            radio,
            country.network.cells,
            need,
            spread,
            late=LATE,
            slow=SLOW,
            guard_slots=guard_slots,
        ),
        np.log(np.maximum([radio_shape(name) for name in country.radio_shapes], SMALLEST)),
        np.ascontiguousarray(country.own_load.T),
        np.log(np.maximum(country.network.peak_load, SMALLEST)),
        chance.normals(),
        np.array(
            [radio.fixed, radio.per_load, radio.burstiness, radio.memory, radio.spread], np.float64
        ),
    )


def levels_at(tables: RadioTables, minute: int) -> Floats:
    """(shapes + C,) log of the part of the busiest hour's load in a minute of the day.

    Loads of one's own are means of equal parts of the day: straight lines join their middles.
    """
    named = np.ascontiguousarray(tables.log_shapes[:, minute % MINUTES])
    bins = len(tables.own_load)
    if not tables.own_load.size:
        return named
    middle = (minute % MINUTES + 0.5) * bins / MINUTES - 0.5
    before = int(np.floor(middle))
    after = middle - before
    load = (1.0 - after) * tables.own_load[before % bins] + after * tables.own_load[
        (before + 1) % bins
    ]
    return np.concatenate((named, np.log(np.maximum(load, SMALLEST))))


def rise_spread(spread: float, memory: float, ahead_min: float) -> float:
    """Standard deviation of log load around its forecast: what an AR(1) process adds by then."""
    return float(spread * (1.0 - memory ** (2.0 * ahead_min)) ** 0.5)


def at_rest(sites: int) -> RadioState:
    """Before the first minute."""
    return RadioState(np.zeros(sites, np.float32), *(np.zeros(sites, np.float64) for _ in range(5)))


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
    found: tuple[float, float] = radio_kernels.minute(
        rows.start,
        rows.stop,
        start,
        memory,
        levels_at(tables, minute),
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
        state.given,
        state.miss,
        state.miss_sum,
        state.used_sum,
    )
    return found


def least_share(
    ground: Ground,
    tables: RadioTables,
    forecast: Floats,
    margin: float,
    share: Floats,
    rows: slice,
) -> Floats:
    """The least share that sites have at a load that they are unlikely to exceed, while open.

    A site that must shut sends its requests on; one that stays open and slows keeps them waiting.

    Args:
        ground: what stays.
        tables: to look up.
        forecast: log of that load of `rows`, plus `LOG_OFFSET`.
        margin: part of the compute that the guard keeps free.
        share: of `rows` at present.
        rows: contiguous.

    Returns:
        those of `rows`, never above `share`.
    """
    least = share.copy()
    table, network = tables.caution, ground.network
    _least(
        table.slot,
        table.sustained,
        network.cells[rows],
        ground.compute[rows],
        ground.preemption[rows],
        forecast,
        margin,
        least,
    )
    return least


@njit(**_OPTIONS)
def _least(slot, sustained, cells, compute, preemption, forecast, margin, share):
    flat = slot.reshape(-1), sustained.reshape(-1)
    all_place, all_need, all_least = np.empty(BLOCK, np.uint32), np.empty(BLOCK), np.empty(BLOCK)
    limits, last = np.full(len(slot), -1.0), np.zeros(len(slot), np.int64)
    for begin in range(0, len(share), BLOCK):
        here = slice(begin, min(begin + BLOCK, len(share)))
        count = here.stop - begin
        place, need, least = all_place[:count], all_need[:count], all_least[:count]
        caution.places(cells[here], forecast[here], place)
        _while_open(*flat, limits, last, cells[here], compute[here], preemption[here], place, need)
        _left(need, compute[here], margin, least)
        _lower(share[here], cells[here], least)
        share[here] = least


@njit(**_OPTIONS)
def _while_open(slot, sustained, limits, last, cells, compute, preemption, place, need):
    """Need at a load, or at the highest one below it at which slots leave AI in time.

    Sites of the same size have it at the same place: it is looked for again only where they differ.
    """
    for row in range(len(need)):
        n, at = cells[row], np.int64(place[row])
        if preemption[row] < 1.0:
            limit = compute[row] * (1.0 - preemption[row])
            if limit != limits[n]:
                begin = n * caution.MEDIANS
                fits = np.searchsorted(slot[begin : begin + caution.MEDIANS], limit, side="right")
                limits[n], last[n] = limit, begin + max(fits - 1, 0)
            need[row] = sustained[min(at, last[n])]
        else:
            need[row] = slot[at]


@njit(**_OPTIONS)
def _left(need, compute, margin, left):
    for row in range(len(left)):
        left[row] = max(1.0 - need[row] / compute[row] - margin, 0.0)


@njit(**_OPTIONS)
def _lower(share, cells, least):
    for row in range(len(least)):
        is_guarded = (cells[row] > 0) & (share[row] > 0.0)
        least[row] = min(share[row], least[row]) if is_guarded else share[row]


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
