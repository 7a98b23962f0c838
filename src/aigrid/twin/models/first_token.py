# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Kernels of `latency`: the distribution of time to first token, from one batch's equilibrium."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.models.batches import in_line
from aigrid.twin.models.gammas import EVEN, FIRST, PARTS, gamma_row
from aigrid.twin.models.queues import mg1_wait_moments

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Equally likely sums of a wait and own work.
POINTS = 64
# A smaller part that waits for a place is none.
_NOBODY = 1e-6


@njit(**_OPTIONS)
def first_cdf(table, rate, mean, square, cube, own, step, grid, over, full_rate, at_s, found):
    """P(first token <= t) at times `at_s`, as `latency.ttft_cdf` has it.

    Args:
        table: of `gammas`.
        rate: prefills a second.
        mean: of one's work.
        square: mean of its square.
        cube: mean of its cube.
        own: (n,) work of equally likely own prefills, increasing.
        step: of the first decode step, without prefills.
        grid: (G,) times, from 0 on.
        over: probability of all places taken and so many in line, of those let in.
        full_rate: requests a second that a full batch completes.
        at_s: (E,) times, increasing.
        found: (E,) to fill.
    """
    row = np.zeros(len(PARTS))
    points, started = np.zeros(POINTS), np.zeros(len(grid))
    _until_step(table, rate, mean, square, cube, own, step, row, points)
    _overtaken(table, rate, mean, square, points, grid, row, started)
    waits = 0.0
    for part in over:
        waits += part
    if waits <= _NOBODY:
        _add(1.0, 0.0, at_s, grid, started, found)
        return
    _add(1.0 - waits, 0.0, at_s, grid, started, found)
    tail, late = over[::-1].cumsum()[::-1].copy(), np.zeros(len(grid))
    for i in range(len(grid)):
        late[i] = in_line(full_rate * grid[i], tail)
    # Those who wait for a place, as equally likely waits.
    low = 0
    for i in range(EVEN):
        wanted = waits * (1.0 - (i + 0.5) / EVEN)
        while low < len(grid) - 2 and late[low + 1] > wanted:
            low += 1
        fall = late[low] - late[low + 1]
        part = min((late[low] - wanted) / fall, 1.0) if fall > 0.0 else 0.0
        wait = grid[low] + (grid[low + 1] - grid[low]) * part
        _add(waits / EVEN, wait, at_s, grid, started, found)


@njit(**_OPTIONS)
def _add(part, wait, at_s, grid, started, found):
    """Add `part` times the distribution on the grid, later by `wait`."""
    low = 0
    for i in range(len(at_s)):
        at = at_s[i] - wait
        if at < 0.0:
            continue
        while low < len(grid) - 2 and grid[low + 1] < at:
            low += 1
        along = min((at - grid[low]) / (grid[low + 1] - grid[low]), 1.0)
        found[i] += part * (started[low] + (started[low + 1] - started[low]) * along)


@njit(**_OPTIONS)
def _until_step(table, rate, mean, square, cube, own, step, row, points):
    """Wait for earlier prefills and own work, as equally likely sums."""
    busy = rate * mean
    count = 1 if own[-1] <= own[0] else len(own)
    some = busy if 0.0 < busy < 1.0 else 0.0
    sums = np.zeros(count * EVEN)
    if some > 0.0:
        wait, wait_square = mg1_wait_moments(rate, mean, square, cube)
        gamma_row(table, wait / busy, wait_square / busy, row)
        for k in range(count):
            for i in range(EVEN):
                sums[k * EVEN + i] = own[k] + row[FIRST + i]
        if count > 1:
            sums.sort()
    # Merge those that do not wait with those that do.
    each_none, each_some = (1.0 - some) / count, some / (count * EVEN)
    none, late, reached, before, value, point = 0, 0, 0.0, -1.0, 0.0, 0
    while point < POINTS:
        wanted = (point + 0.5) / POINTS
        if none < count and (some <= 0.0 or late >= len(sums) or own[none] <= sums[late]):
            following, weight = own[none], each_none
            none += 1
        elif some > 0.0 and late < len(sums):
            following, weight = sums[late], each_some
            late += 1
        else:
            while point < POINTS:
                points[point] = value + step
                point += 1
            return
        middle = reached + 0.5 * weight
        while point < POINTS and wanted <= middle:
            if before < 0.0:
                points[point] = following + step
            else:
                along = (wanted - before) / (middle - before)
                points[point] = value + (following - value) * along + step
            point += 1
            wanted = (point + 0.5) / POINTS
        reached += weight
        before, value = middle, following


@njit(**_OPTIONS)
def _overtaken(table, rate, mean, square, points, grid, row, started):
    """P(first token <= t) on the grid, where prefills that come later go before the first step.

    Work of x is interrupted by Poisson many busy periods of prefill, each with mean m / (1 - rho)
    and second moment m2 / (1 - rho)^3 (a delay cycle: Kleinrock I, 5.9 and II, 3.3). None come with
    probability exp(-lambda x); what the others add is taken as gamma distributed.
    """
    left = max(1.0 - rate * mean, 1e-3)
    each = 1.0 / len(points)
    begin = 0
    for x in points:
        while begin < len(grid) and grid[begin] < x:
            begin += 1
        count = rate * x
        none = np.exp(-count)
        some = 1.0 - none
        if some <= 1e-12:
            for i in range(begin, len(grid)):
                started[i] += each
            continue
        late = count * mean / left
        late_square = count * square / left**3 + late * late
        gamma_row(table, late / some, late_square / some, row)
        low = 0
        for i in range(begin, len(grid)):
            after = grid[i] - x
            while low < len(row) - 2 and row[low + 1] < after:
                low += 1
            width = row[low + 1] - row[low]
            along = min((after - row[low]) / width, 1.0) if width > 0.0 else 1.0
            reached = PARTS[low] + (PARTS[low + 1] - PARTS[low]) * along
            started[i] += each * (none + some * reached)
