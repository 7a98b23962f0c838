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
    return Several(rows, reach[rows], weight[rows])


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
def go_up(first, last, over, turned, above, way_bin, arrive, up_paths):
    """Hand what `first` to `last` refused to the site above each; without one it is refused.

    Args:
        first: row.
        last: row after the last.
        over: (N,) requests of one service.
        turned: (N,) int8, 0 where a site refused none of any service.
        above: (N,) row, -1 for none.
        way_bin: (N,) path bin of the way up.
        arrive: (N,) requests a second, added to.
        up_paths: (U, P) requests a second that come up by path, added to.

    Returns:
        requests that nobody took.
    """
    refused = 0.0
    for row in range(first, last):
        if turned[row] == 0 or over[row] <= 0.0:
            continue
        site = above[row]
        if site < 0:
            refused += over[row]
        else:
            arrive[site] += over[row] / MINUTE_S
            up_paths[site, way_bin[row]] += over[row] / MINUTE_S
    return refused
