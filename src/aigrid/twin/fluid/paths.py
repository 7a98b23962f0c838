# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""By which paths requests come to sites, and how they fare: latencies as operating points."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import Ground
from aigrid.twin.models.path import link_wait_ms

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
# Set in the code of a path that leaves its hub.
CROSSES = 128
MINUTE_S = 60.0
# Rows that are looked at together.
BLOCK = 1024
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def encode(first, last, reach, hop_ms, hub, extra_ms, lookup, steps, codes):
    """The path bin of each origin and candidate; `CROSSES` is added where it leaves the hub.

    Args:
        first: row.
        last: row after the last.
        reach: (N, K).
        hop_ms: (N, K) one way.
        hub: (N,) row of the hub whose uplink takes an origin out of its hub; -1 for none.
        extra_ms: (N,) one way, wait for the uplink of each hub.
        lookup: path bin of a round trip.
        steps: of the lookup, a ms.
        codes: (N, K) uint8 to fill.
    """
    for row in range(first, last):
        for at in range(reach.shape[1]):
            site = reach[row, at]
            if site >= 0:
                way, crossing = hop_ms[row, at], 0
                if hub[row] >= 0 and hub[site] != hub[row]:
                    way += extra_ms[hub[row]]
                    crossing = CROSSES
                codes[row, at] = crossing + lookup[min(int(2.0 * way * steps), len(lookup) - 1)]


@njit(**_OPTIONS)
def waits(rows, loads, gbit_per_s, wait_ms):
    """Set the wait for the uplinks of `rows` under their `loads`; wait_ms is (N,)."""
    for at in range(len(rows)):
        wait_ms[rows[at]] = link_wait_ms(loads[at], gbit_per_s)


@njit(**_OPTIONS)
def mix(
    reach,
    weight,
    only,
    rate,
    codes,
    hub,
    upper,
    blends,
    code,
    came,
    stays,
    crossing,
    target,
    columns,
    bins,
):
    """By which paths requests come to each site, and how many sessions stay there.

    Two requests of a session go to the same candidate with its weight, if the gateway draws for
    each anew. Most sites are reached by paths of one bin: only the others have a row of `blends`.

    Args:
        reach: (N, K).
        weight: (N, K).
        only: (N,) column of the candidate that gets all of an origin's; -1 for several.
        rate: (N,) requests a second expected.
        codes: (N, K) of `encode`.
        hub: (N,) row of the hub whose uplink takes an origin out of its hub; -1 for none.
        upper: sites, the first ones, that have the first rows of `blends` whatever comes.
        blends: (N, P) float32, rows to fill, parts by path bin that sum to 1.
        code: (N,) int32 to fill, the bin where all come by paths of one; else -1 less the row.
        came: (N,) float32 to work in.
        stays: (N,) float32 to fill, 0 to 1.
        crossing: (N,) to fill, requests a second over each hub's uplink.
        target: (N,) int32 to fill, the site that gets all of an origin's requests; -1 for several.
        columns: K values, any: a tuple's length is known when this is compiled.
        bins: P values, likewise.

    Returns:
        rows of `blends` that are used.
    """
    used = upper
    blends[:upper], came[:], stays[:], crossing[:], code[:] = 0.0, 0.0, 0.0, 0.0, 0
    for site in range(upper):
        code[site] = -1 - site
    for row in range(len(rate)):
        asked = rate[row]
        target[row] = reach[row, only[row]] if only[row] >= 0 else -1
        if asked <= 0.0:
            continue
        if only[row] >= 0:
            site, way = target[row], codes[row, only[row]]
            used = _come(site, way & (CROSSES - 1), asked, used, blends, code, came, bins)
            stays[site] += asked
            if way & CROSSES:
                crossing[hub[row]] += asked
            continue
        for at in range(len(columns)):
            part = weight[row, at]
            if part > 0.0:
                site, way = reach[row, at], codes[row, at]
                flow = asked * part
                used = _come(site, way & (CROSSES - 1), flow, used, blends, code, came, bins)
                stays[site] += flow * part
                if way & CROSSES:
                    crossing[hub[row]] += flow
    _parts(blends, code, came, stays, bins)
    return used


@njit(inline="always", **_OPTIONS)
def _come(site, bin_, flow, used, blends, code, came, bins):
    """Requests a second come to a site by a bin; returns how many sites have a row by now."""
    row, one = -1 - code[site], came[site] + flow
    if row >= 0:
        blends[row, bin_] += flow
    elif code[site] == bin_ or came[site] == 0.0:
        code[site] = bin_
        came[site] = one
    else:
        for other in range(len(bins)):
            blends[used, other] = 0.0
        blends[used, code[site]], blends[used, bin_] = came[site], flow
        code[site], came[site] = -1 - used, 0.0
        used += 1
    return used


@njit(**_OPTIONS)
def _parts(blends, code, came, stays, bins):
    """Make requests a second parts of all; where nobody comes, all take the shortest path."""
    for site in range(len(stays)):
        row, total = -1 - code[site], np.float64(came[site])
        if row >= 0:
            for bin_ in range(len(bins)):
                total += blends[row, bin_]
        each = 1.0 / total if total > 0.0 else 0.0
        if row >= 0:
            for bin_ in range(len(bins)):
                blends[row, bin_] *= each
            if total <= 0.0:
                blends[row, 0] = 1.0
        stays[site] = min(stays[site] * each, 1.0) if total > 0.0 else 1.0


@njit(**_OPTIONS)
def join_paths(first, last, came, up_paths, paths, joined):
    """Paths of upper sites with what came up: `came` by weights, as `paths` says, and the rest."""
    for row in range(first, last):
        total = came[row]
        for bin_ in range(paths.shape[1]):
            total += up_paths[row, bin_]
        for bin_ in range(paths.shape[1]):
            if total > 0.0:
                flow = came[row] * paths[row, bin_] + up_paths[row, bin_]
                joined[row, bin_] = flow / total
            else:
                joined[row, bin_] = paths[row, bin_]


@njit(**_OPTIONS)
def account(served, line, held, point, code, blends, joined, stays, warm, kept, mass, good, bins):
    """Add a minute's requests of one service to its operating points.

    Args:
        served: (N,) requests.
        line: (N,) requests in line.
        held: (N,) int8, 0 where there are none of any service.
        point: (N,) operating points.
        code: (N,) of `mix`.
        blends: of it.
        joined: (U, P) instead of both for the first U rows.
        stays: (N,) sessions that stay.
        warm: probability that a prefix is found where the session stayed.
        kept: (O, 2, P) probability that what was promised is kept.
        mass: (O, 2, P) requests, added to.
        good: (N,) float32 part of the requests that keeps what was promised, to fill.
        bins: P values, any: a tuple's length is known when this is compiled.

    Returns:
        requests that keep what was promised, those served, and those in line.
    """
    upper, sums = len(joined), np.zeros(2)
    own = np.arange(-1, -1 - upper, -1).astype(np.int32)
    above, below = slice(0, upper), slice(upper, len(served))
    _add_rows(
        (served[above], point[above], own, joined, stays[above], warm),
        (kept, mass, good[above], sums),
        bins,
    )
    _add_rows(
        (served[below], point[below], code[below], blends, stays[below], warm),
        (kept, mass, good[below], sums),
        bins,
    )
    return sums[0], sums[1], _in_line(line, held)


@njit(**_OPTIONS)
def _in_line(line, held):
    """Requests in line; most blocks have none."""
    found = 0.0
    for begin in range(0, len(line), BLOCK):
        some, any_ = held[begin : begin + BLOCK], 0
        for at in range(len(some)):
            any_ |= some[at]
        if any_:
            for at in range(len(some)):
                found += line[begin + at] if some[at] else 0.0
    return found


def fared(
    ground: Ground,
    arrive: Floats,
    over: Floats,
    good: Singles,
    sent: Singles,
    rate: Floats,
) -> Floats:
    """How requests of one service fare now, by the origin that they come from.

    Args:
        ground: what stays.
        arrive: (N,) requests a second at each site.
        over: (N,) requests of this minute that are refused.
        good: (N,) part of what is served that keeps what was promised.
        sent: (N, K) part of each origin's requests that goes to each candidate.
        rate: (N,) requests a second of each origin.

    Returns:
        (3, N) requests a second asked, answered and promised.
    """
    taken, kept = np.empty((2, len(good)))
    fates(ground.above, arrive, over, good, taken, kept)
    found = np.zeros((3, len(good)))
    origins(ground.reach, sent, rate, taken, kept, *found)
    return found


@njit(**_OPTIONS)
def fates(above, arrive, over, good, taken, kept):
    """What becomes of requests that are sent to a site: served there, or above where it refuses.

    Args:
        above: (N,) row of the site above, smaller than the site's; -1 for none.
        arrive: (N,) requests a second of one service.
        over: (N,) requests of this minute that are refused.
        good: (N,) float32 part of what is served that keeps what was promised.
        taken: (N,) to fill, part that is answered.
        kept: (N,) to fill, part that is answered as promised.
    """
    for row in range(len(above)):
        came = arrive[row] * MINUTE_S
        own = 1.0 - min(max(over[row] / came, 0.0), 1.0) if came > 0.0 else 1.0
        taken[row], kept[row] = own, own * good[row]
        if above[row] >= 0:
            taken[row] += (1.0 - own) * taken[above[row]]
            kept[row] += (1.0 - own) * kept[above[row]]


@njit(**_OPTIONS)
def _add_rows(given, found, bins):
    """The work of `account` for rows whose bins are all told alike; see there for the columns.

    All in one loop: handing arrays to a function for each row would count their references, at
    several times the cost of the row.

    Args:
        given: `served`, `point`, `code`, `blends`, `stays` and `warm`.
        found: `kept`, `mass`, `good`, and (2,) requests as promised and served, added to.
        bins: as there.
    """
    served, point, code, blends, stays, warm = given
    kept, mass, good, sums = found
    rows, as_promised, in_all = np.empty(BLOCK, np.int64), sums[0], sums[1]
    for begin in range(0, len(served), BLOCK):
        block = slice(begin, min(begin + BLOCK, len(served)))
        good[block] = 0.0
        for at in range(_who_serves(served[block], rows)):
            row = begin + rows[at]
            some, here, bin_ = served[row], point[row], code[row]
            hit = stays[row] * warm
            cold = 1.0 - hit
            if bin_ >= 0:
                part = cold * kept[here, 1, bin_]
                mass[here, 1, bin_] += some * cold
                if hit > 0.0:
                    mass[here, 0, bin_] += some * hit
                    part += hit * kept[here, 0, bin_]
            else:
                # Nearly all blends are of two bins.
                part = 0.0
                for one in range(len(bins)):
                    by = np.float64(blends[-1 - bin_, one])
                    if by > 0.0:
                        mass[here, 1, one] += some * (by * cold)
                        part += by * cold * kept[here, 1, one]
                for one in range(len(bins)):
                    by = blends[-1 - bin_, one] * hit
                    if by > 0.0:
                        mass[here, 0, one] += some * by
                        part += by * kept[here, 0, one]
            good[row] = part
            as_promised += part * some
            in_all += some
    sums[0], sums[1] = as_promised, in_all


@njit(**_OPTIONS)
def _who_serves(served, rows):
    """Fill in the rows that serve some; how many."""
    many, count = 0, 0
    for row in range(len(served)):
        many += int(served[row] > 0.0)
    if many > 0:
        for row in range(len(served)):
            rows[count] = row
            count += int(served[row] > 0.0)
    return count


@njit(**_OPTIONS)
def origins(reach, weight, rate, taken, kept, asked, answered, promised):
    """How each origin's requests of one service fare, added to its sums.

    Args:
        reach: (N, K).
        weight: (N, K).
        rate: (N,) requests a second.
        taken: (N,) part of what comes to a site that is answered, there or above.
        kept: (N,) part of what comes to a site that is answered as promised, there or above.
        asked: (N,) added to.
        answered: (N,) added to.
        promised: (N,) added to.
    """
    for row in range(len(rate)):
        if rate[row] <= 0.0:
            continue
        asked[row] += rate[row]
        for at in range(reach.shape[1]):
            part = weight[row, at]
            if part > 0.0:
                answered[row] += rate[row] * part * taken[reach[row, at]]
                promised[row] += rate[row] * part * kept[reach[row, at]]
