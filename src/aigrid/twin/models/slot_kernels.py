# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""The need of compute of one slot, compiled: formulas of `slots`, for each site and minute."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Keeps a need that equals the compute but for rounding from counting as a miss.
_ROUNDING = 1e-9


@njit(**_OPTIONS)
def mean_need(cells, load, fixed, per_load):
    """Mean need of one slot in devices."""
    return cells * (fixed + per_load * load)


@njit(**_OPTIONS)
def affordable(cells, load, compute, fixed, per_load, burstiness):
    """How many busy cells `compute` devices carry: -1 where not even idle slots fit."""
    spare = compute * (1.0 + _ROUNDING) - cells * (fixed + per_load * load * (1.0 - burstiness))
    if spare < 0.0:
        return -1
    step = per_load * burstiness
    if step * cells <= spare:
        return cells
    return int(spare / step)


@njit(**_OPTIONS)
def miss(cells, load, compute, fixed, per_load, burstiness):
    """P(need of one slot > `compute`), exactly: a binomial tail of at most `cells` terms.

    Args:
        cells: of the site.
        load: their mean load, 0 to 1.
        compute: devices that the radio has in this slot.
        fixed: need of an empty cell.
        per_load: further need of a full one.
        burstiness: 0 to 1.
    """
    carried = affordable(cells, load, compute, fixed, per_load, burstiness)
    if carried >= cells:
        return 0.0
    if carried < 0:
        return 1.0
    return _tail(cells, load, carried)


@njit(**_OPTIONS)
def miss_at(survival, cells, load, compute, fixed, per_load, burstiness):
    """As `miss`, from the table `NeedTable.survival`: straight between its loads, never below 0.

    The tail is convex in small loads, so that a straight line errs on the side of missing more.
    """
    carried = affordable(cells, load, compute, fixed, per_load, burstiness)
    low, part = column(survival.shape[1] - 1, load, carried)
    k = max(carried, 0)
    return (1.0 - part) * survival[cells, low, k] + part * survival[cells, low + 1, k]


@njit(inline="always", **_OPTIONS)
def column(load_bins, load, carried):
    """The table's load at or below `load`, and the part of the way from there to the next one.

    Where not even idle slots fit, `carried` is -1, and all slots miss as none is carried under a
    full load. Where all cells are carried, the table has 0 at every load.
    """
    at = (1.0 if carried < 0 else min(max(load, 0.0), 1.0)) * load_bins
    low = min(np.int32(at), np.int32(load_bins - 1))
    return low, at - low


@njit(**_OPTIONS)
def quantile_need(busy, cells, load, fixed, per_load, burstiness):
    """Quantile of the need of one slot in devices; `busy` is that of a `NeedTable`.

    The number of busy cells is that of the next higher load of the table, so it errs upwards.
    """
    bins = busy.shape[1] - 1
    column = min(math.ceil(min(max(load, 0.0), 1.0) * bins), bins)
    base = cells * (fixed + per_load * load * (1.0 - burstiness))
    return base + busy[cells, column] * per_load * burstiness


@njit(**_OPTIONS)
def _tail(cells, load, carried):
    # Terms from the top: P(k) from k = cells down, whose ratio needs no factorials.
    if load <= 0.0:
        return 0.0
    if load >= 1.0:
        return 1.0
    term = load**cells
    odds = (1.0 - load) / load
    total = 0.0
    for k in range(cells, carried, -1):
        total += term
        term *= odds * k / (cells - k + 1.0)
    return total


@njit(**_OPTIONS)
def survival_of(load, survival):
    """Fill survival[n, j, k] = P(Binomial(n, load[j]) > k)."""
    for n in range(survival.shape[0]):
        for j in range(survival.shape[1]):
            for k in range(min(n, survival.shape[2])):
                survival[n, j, k] = _tail(n, load[j], k)


@njit(**_OPTIONS)
def busy_quantile(survival, probability, busy):
    """Fill busy[n, j] with the fewest busy cells that more than `probability` of slots stay at."""
    for n in range(busy.shape[0]):
        for j in range(busy.shape[1]):
            k = 0
            while k < n and survival[n, j, k] > probability:
                k += 1
            busy[n, j] = k


@njit(**_OPTIONS)
def need_of(load, busy, fixed, per_load, burstiness, need):
    """Fill need[n, j] of `busy[n, j]` busy cells of n at load[j]."""
    for n in range(busy.shape[0]):
        for j in range(busy.shape[1]):
            base = n * (fixed + per_load * load[j] * (1.0 - burstiness))
            need[n, j] = base + busy[n, j] * per_load * burstiness
