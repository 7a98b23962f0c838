# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""A minute of the radio of many sites, compiled: load, use, what AI gets, slots missed.

Each loop writes to one or two columns, so that a check before it tells that no column lies in
another, and several rows are done at once (LLVM makes at most eight such checks a loop). Look-ups
have loops of their own, and scratch columns arrays of their own: rows of one array do not count as
columns apart.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.fluid import chance
from aigrid.twin.models.slot_kernels import affordable, column

# Forecasts know no values below 0.
LOG_OFFSET = 25.0
# Rows that are worked on at once, within the reach of a processor's nearest cache.
BLOCK = 1024
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def minute(
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
    given,
    miss,
    miss_sum,
    used_sum,
):
    """One minute of the rows from `first` to `last`, in place; the columns are those of `radio`.

    Returns:
        sums of the devices used and of the expected parts of slots missed.
    """
    spread, width = numbers[4], survival.shape[2]
    usual, flat = shapes - 0.5 * spread * spread, survival.reshape(-1)
    all_bits, all_loads = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.float32)
    all_level, all_used = np.empty(BLOCK), np.empty(BLOCK)
    all_part, all_place = np.empty(BLOCK), np.empty(BLOCK, np.uint32)
    sums = 0.0, 0.0
    for begin in range(first, last, BLOCK):
        here, count = slice(begin, min(begin + BLOCK, last)), min(BLOCK, last - begin)
        bits, loads, level = all_bits[:count], all_loads[:count], all_level[:count]
        used, part, place = all_used[:count], all_part[:count], all_place[:count]
        carried = level  # whose turn is over by then
        cells_here, compute_here, preemption_here = cells[here], compute[here], preemption[here]
        chance.draws(start, begin, bits)
        _fresh(bits, normals, loads)
        _drift(loads, memory, deviation[here])
        _usual(usual, shape[here], peak[here], level)
        _levels(level, spread, deviation[here], seen[here], loads)
        _loads(loads)
        _use(numbers, cells_here, compute_here, loads, used)
        _give(cells_here, compute_here, preemption_here, share[here], used, given[here])
        _carry(numbers, cells_here, compute_here, preemption_here, share[here], loads, carried)
        _look_up(survival.shape[1] - 1, width, cells_here, loads, carried, place, part)
        sums = _missed(flat, width, place, part, used, miss[here], *sums)
        _add(used, used_sum[here])
        _add(miss[here], miss_sum[here])
    return sums


@njit(**_OPTIONS)
def _fresh(bits, normals, found):
    for at in range(len(bits)):
        found[at] = chance.tailed(bits[at], normals)


@njit(**_OPTIONS)
def _drift(found, memory, deviation):
    kept, fresh = np.float32(memory), np.float32(np.sqrt(1.0 - memory * memory))
    for at in range(len(deviation)):
        deviation[at] = kept * deviation[at] + fresh * found[at]


@njit(**_OPTIONS)
def _usual(usual, shape, peak, level):
    for at in range(len(level)):
        level[at] = usual[np.uint64(shape[at])] + peak[at]


@njit(**_OPTIONS)
def _levels(usual, spread, deviation, seen, load):
    for at in range(len(load)):
        level = min(usual[at] + spread * deviation[at], 0.0)
        seen[at] = level + LOG_OFFSET
        load[at] = np.float32(level)


@njit(**_OPTIONS)
def _loads(load):
    for at in range(len(load)):
        load[at] = chance.exponential(load[at])


@njit(**_OPTIONS)
def _use(numbers, cells, compute, load, used):
    fixed, per_load = numbers[0], numbers[1]
    for at in range(len(used)):
        used[at] = min(cells[at] * (fixed + per_load * np.float64(load[at])), compute[at])


@njit(**_OPTIONS)
def _give(cells, compute, preemption, share, used, given):
    for at in range(len(given)):
        left = min(share[at], 1.0 - used[at] / compute[at])
        given[at] = left if (preemption[at] < 1.0) & (cells[at] > 0) else share[at]


@njit(**_OPTIONS)
def _carry(numbers, cells, compute, preemption, share, load, carried):
    """Busy cells that fit into what AI leaves the radio in a slot."""
    fixed, per_load, burstiness = numbers[0], numbers[1], numbers[2]
    for at in range(len(carried)):
        whole, part, now = compute[at], preemption[at], share[at]
        in_time = whole * (1.0 - part) if now > 0.0 else whole
        kept = in_time if part < 1.0 else whole * (1.0 - now)
        carried[at] = affordable(cells[at], np.float64(load[at]), kept, fixed, per_load, burstiness)


@njit(**_OPTIONS)
def _look_up(load_bins, width, cells, load, carried, place, part):
    """Where `survival`, laid flat, is read, and how far on towards the next load."""
    for at in range(len(part)):
        low, beyond = column(load_bins, np.float64(load[at]), carried[at])
        part[at] = beyond
        row = np.uint32(cells[at] * (load_bins + 1) + low)
        place[at] = np.uint32(row * width + np.int32(max(carried[at], 0.0)))


@njit(**_OPTIONS)
def _missed(survival, width, place, part, used, miss, all_used, all_missed):
    for at in range(len(place)):
        low, beyond = np.uint64(place[at]), part[at]
        high = low + np.uint64(width)
        missed = (1.0 - beyond) * survival[low] + beyond * survival[high]
        miss[at] = missed
        all_used += used[at]
        all_missed += missed
    return all_used, all_missed


@njit(**_OPTIONS)
def _add(values, sums):
    for at in range(len(sums)):
        sums[at] += values[at]
