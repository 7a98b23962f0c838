# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Flows of one minute: down the weights, and up where a site refuses.

All kernels here and in `sites` and `paths` walk rows in order and write to rows of their own or of
their service, so that results do not depend on how many threads share the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0


class Several(NamedTuple):
    """Origins whose requests go to several sites, closely packed.

    Attributes:
        rows: (M,) of the origins.
        reach: (M, K) their candidates.
        weight: (M, K) float32 parts that are sent; a row sums to 1, or to 0 for nowhere.
    """

    rows: NDArray[np.int64]
    reach: NDArray[np.int32]
    weight: NDArray[np.float32]


def several_of(
    target: NDArray[np.int32], reach: NDArray[np.int32], weight: NDArray[np.float32]
) -> Several:
    """Origins without a `target`, with their (N, K) candidates and parts."""
    rows = np.flatnonzero(target < 0)
    return Several(rows, packed(rows, reach), packed(rows, weight))


@njit(**_OPTIONS)
def packed(rows, table):
    """Rows of a table, one after the other."""
    found = np.empty((len(rows), table.shape[1]), table.dtype)
    for index in range(len(rows)):
        for at in range(table.shape[1]):
            found[index, at] = table[rows[index], at]
    return found


@njit(**_OPTIONS)
def push(target, several, rate, arrive, columns):
    """Send each origin's requests of one service where its gateway does.

    Args:
        target: (N,) int32 row of the site that gets all of an origin's; -1 for several.
        several: those.
        rate: (N,) requests a second.
        arrive: (N,) to fill, requests a second.
        columns: K values, any: a tuple's length is known when this is compiled.

    Returns:
        requests a second that came, and those that have nowhere to go.
    """
    arrive[:] = 0.0
    came, lost = 0.0, 0.0
    for row in range(len(rate)):
        came += rate[row]
        if target[row] >= 0:
            arrive[target[row]] += rate[row]
    for index in range(len(several.rows)):
        asked = rate[several.rows[index]]
        rest, last = asked, -1
        for at in range(len(columns)):
            part = several.weight[index, at]
            if part > 0.0:
                last = several.reach[index, at]
                arrive[last] += asked * part
                rest -= asked * part
        # What float32 weights round away goes to the last one.
        if last >= 0:
            arrive[last] += rest
        else:
            lost += asked
    return came, lost


@njit(**_OPTIONS)
def listed(first, last, flags, found):
    """Rows from `first` to `last` that are flagged, in `found`; returns how many there are."""
    count = 0
    for row in range(first, last):
        found[count] = row
        count += flags[row] != 0
    return count


@njit(**_OPTIONS)
def go_up(rows, over, above, way_bin, arrive, up_paths):
    """Hand what `rows` refused to the site above each; without one it is refused.

    Args:
        rows: of sites that may have refused some.
        over: (N,) requests of one service.
        above: (N,) row, -1 for none.
        way_bin: (N,) path bin of the way up.
        arrive: (N,) requests a second, added to.
        up_paths: (U, P) requests a second that come up by path, added to.

    Returns:
        requests that nobody took.
    """
    refused = 0.0
    for row in rows:
        site = above[row]
        if over[row] > 0.0 and site < 0:
            refused += over[row]
        elif over[row] > 0.0:
            arrive[site] += over[row] / MINUTE_S
            up_paths[site, way_bin[row]] += over[row] / MINUTE_S
    return refused
