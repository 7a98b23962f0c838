# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Flows of one minute: down the weights, and up where a site refuses.

All kernels here and in `sites` and `paths` walk rows in order and write to rows of their own or of
their service, so that results do not depend on how many threads share the work.
"""

from __future__ import annotations

from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0


@njit(**_OPTIONS)
def push(reach, weight, target, rate, arrive, columns):
    """Send each origin's requests where its gateway does.

    Args:
        reach: (N, K) candidates.
        weight: (N, K) of one service, parts that are sent; a row sums to 1 or 0.
        target: (N,) int32 row of the site that gets all of an origin's; -1 for several.
        rate: (N,) requests a second.
        arrive: (N,) to fill, requests a second.
        columns: K values, any: a tuple's length is known when this is compiled.

    Returns:
        requests a second that came, and those that have nowhere to go.
    """
    arrive[:] = 0.0
    came, lost = 0.0, 0.0
    for row in range(len(rate)):
        asked = rate[row]
        if asked <= 0.0:
            continue
        came += asked
        if target[row] >= 0:
            arrive[target[row]] += asked
            continue
        rest, last = asked, -1
        for at in range(len(columns)):
            part = weight[row, at]
            if part > 0.0:
                last = reach[row, at]
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
        turned: (N,) int8, 0 where no service refused any.
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
