"""How load is poured over sites: a site's compute over its services, a service's load over sites.

Water-filling by network order: each origin fills the nearest candidate that keeps the promise, up
to its fair part of what that site has to spare; the rest overflows to the next, hub and factory
last. What a site has to spare comes from demand and compute, not from how it does just now, so that
there is no loop to swing; how it does (`site_ms`) only bends it, smoothly and damped.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.control.policy import Policy
from aigrid.core.state import BoolColumn, FloatColumn

# Part of a site's leftover that its services get alike, whatever is wanted of them here: load may
# overflow from elsewhere.
EVEN_PART = 0.25
# A weight below this is none.
NOTHING = 1e-4


def split(
    policy: Policy,
    compute: FloatColumn,
    wanted: FloatColumn,
    work_s: FloatColumn,
    resident: BoolColumn,
) -> FloatColumn:
    """A site's compute for AI, divided among its services, in requests a second.

    Every service gets what is wanted of it, or its part in proportion where that is too much; of
    what is left a part goes to all alike and the rest in proportion.

    Args:
        policy: dials; `route_fill` of the compute is given out.
        compute: (N,) compute for AI: devices (or cores) times share.
        wanted: (N, S) requests a second expected at or below the site.
        work_s: (N, S) seconds that one device (core) spends on a request.
        resident: (N, S) whether the service can serve there.

    Returns:
        (N, S) requests a second; 0 where a service is not resident or there is no compute.
    """
    spare: FloatColumn = _split(
        np.ascontiguousarray(compute, np.float64),
        np.ascontiguousarray(wanted, np.float64),
        np.ascontiguousarray(work_s, np.float64),
        np.ascontiguousarray(resident, np.bool_),
        policy.route_fill,
    )
    return spare


@njit(cache=True, nogil=True)
def _split(compute, wanted, work_s, resident, fill):  # type: ignore[no-untyped-def]
    sites, services = wanted.shape
    spare = np.zeros((sites, services))
    for row in range(sites):
        room = compute[row] * fill
        total, standing = 0.0, 0
        for service in range(services):
            if resident[row, service]:
                total += wanted[row, service] * work_s[row, service]
                standing += 1
        if standing == 0 or not room > 0.0:
            continue
        left = max(room - total, 0.0)
        even = left / standing * (EVEN_PART if total > 0.0 else 1.0)
        stretch = (room - even * standing) / total if total > 0.0 else 0.0
        for service in range(services):
            if resident[row, service]:
                mine = wanted[row, service] * work_s[row, service] * stretch + even
                spare[row, service] = mine / max(work_s[row, service], 1e-9)
    return spare


def waterfill(
    policy: Policy,
    reach: NDArray[np.int32],
    demand: FloatColumn,
    spare: FloatColumn,
    site_ms: FloatColumn,
    hop_ms: NDArray[np.float32],
    slo_ms: float,
    previous: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Weights of one service's candidates, for every origin.

    Candidates that are predicted to keep the promise come first, in the order of `reach`; those
    that are not come after, the fastest first (at most 62 candidates). A site that gets slow
    counts as smaller, from half of the promised time on. Origins without known demand spread over
    their candidates in proportion to what these have to spare. `route_reserve` of each origin's
    load goes to candidates that have room and are not needed, so that a gateway has somewhere to
    go.

    Args:
        policy: dials.
        reach: (O, K) rows of sites, -1 for none; origins need not be sites.
        demand: (O,) requests a second; 0 for unknown.
        spare: (N,) requests a second that each site can take; 0 where it may not, or is down.
        site_ms: (N,) time to first token from the site's door: wait, cold start, prefill.
        hop_ms: (O, K) path, one way.
        slo_ms: time to first token promised.
        previous: (O, K) weights in force for the same `reach`, or None; the new ones move part of
            the way only (`route_damping`), but who may serve no longer is left at once.

    Returns:
        (O, K) float32; rows sum to 1, or to 0 where nobody has anything to spare.
    """
    shape = reach.shape
    old = np.zeros((0, shape[1]), np.float32) if previous is None else previous
    weight: NDArray[np.float32] = _waterfill(
        np.ascontiguousarray(reach, np.int32),
        np.ascontiguousarray(demand, np.float64),
        np.ascontiguousarray(spare, np.float64),
        np.ascontiguousarray(site_ms, np.float64),
        np.ascontiguousarray(hop_ms, np.float32),
        float(slo_ms),
        np.ascontiguousarray(old, np.float32),
        policy.route_damping,
        policy.route_reserve,
    )
    return weight


@njit(cache=True, nogil=True)
def _room(spare, site_ms, slo_ms):  # type: ignore[no-untyped-def]
    """What each site has to spare, bent by how it does; 0 for sites that may not serve."""
    room = np.zeros(len(spare))
    for row in range(len(spare)):
        if spare[row] > 0.0 and np.isfinite(site_ms[row]):
            room[row] = spare[row] * min(1.0, max(0.25, 1.5 - site_ms[row] / slo_ms))
    return room


@njit(cache=True, nogil=True)
def _next(reach, room, site_ms, hop_ms, slo_ms, origin, done):  # type: ignore[no-untyped-def]
    """The best candidate not in the bit set `done`, and whether it keeps the promise; -1: none."""
    best, best_ms = -1, np.inf
    for at in range(reach.shape[1]):
        site = reach[origin, at]
        if site < 0 or room[site] <= 0.0 or (done >> at) & 1:
            continue
        late_ms = site_ms[site] + 2.0 * hop_ms[origin, at]
        if late_ms <= slo_ms:
            return at
        if late_ms < best_ms:
            best, best_ms = at, late_ms
    return best


@njit(cache=True, nogil=True)
def _pour(reach, demand, room, site_ms, hop_ms, slo_ms, weight):  # type: ignore[no-untyped-def]
    """Fill candidate after candidate, all origins at once; returns what each site has left."""
    origins, width = reach.shape
    left, applied = room.copy(), np.zeros(len(room))
    rest, done = demand.copy(), np.zeros(origins, np.int64)
    choice, asking = np.zeros(origins, np.int16), np.empty(origins, np.int32)
    count = 0
    for origin in range(origins):
        if demand[origin] > 0.0:
            asking[count] = origin
            count += 1
    for _ in range(width):
        asked = 0
        for index in range(count):
            origin = asking[index]
            at = _next(reach, room, site_ms, hop_ms, slo_ms, origin, done[origin])
            if at >= 0:
                choice[origin] = at
                done[origin] |= 1 << at
                applied[reach[origin, at]] += rest[origin]
                asking[asked] = origin
                asked += 1
        for index in range(asked):
            origin = asking[index]
            site = reach[origin, choice[origin]]
            given = rest[origin] * min(1.0, left[site] / applied[site])
            weight[origin, choice[origin]] = given / demand[origin]
            rest[origin] -= given
        count = 0
        for index in range(asked):
            origin = asking[index]
            site = reach[origin, choice[origin]]
            left[site] = max(left[site] - applied[site], 0.0)
            applied[site] = 0.0
            if rest[origin] > NOTHING * demand[origin]:
                asking[count] = origin
                count += 1
        if count == 0:
            break
    return left


@njit(cache=True, nogil=True)
def _spread(reach, room, origin, weight):  # type: ignore[no-untyped-def]
    """In proportion to room."""
    for at in range(reach.shape[1]):
        if reach[origin, at] >= 0:
            weight[origin, at] = room[reach[origin, at]]


@njit(cache=True, nogil=True)
def _keep_doors_open(reach, demand, left, part, weight):  # type: ignore[no-untyped-def]
    """Move a small part of each origin's load to candidates that have room and are not needed."""
    origins, width = reach.shape
    each, applied = part / width, np.zeros(len(left))
    for origin in range(origins):
        if demand[origin] > 0.0:
            for at in range(width):
                site = reach[origin, at]
                if site >= 0 and left[site] > 0.0 and weight[origin, at] < each:
                    applied[site] += demand[origin] * each
    for origin in range(origins):
        if demand[origin] > 0.0:
            for at in range(width):
                site = reach[origin, at]
                if site >= 0 and left[site] > 0.0 and weight[origin, at] < each:
                    weight[origin, at] += each * min(1.0, left[site] / applied[site])


@njit(cache=True, nogil=True)
def _blend(reach, room, previous, damping, origin, weight):  # type: ignore[no-untyped-def]
    """Normalise, move part of the way from the weights before, normalise."""
    _normalise(origin, weight)
    if len(previous) == 0:
        return
    for at in range(reach.shape[1]):
        site = reach[origin, at]
        if site >= 0 and room[site] > 0.0 and previous[origin, at] > 0.0:
            mixed = damping * previous[origin, at] + (1.0 - damping) * weight[origin, at]
            weight[origin, at] = mixed if weight[origin, at] > 0.0 or mixed >= NOTHING else 0.0
    _normalise(origin, weight)


@njit(cache=True, nogil=True)
def _normalise(origin, weight):  # type: ignore[no-untyped-def]
    total = 0.0
    for at in range(weight.shape[1]):
        total += weight[origin, at]
    for at in range(weight.shape[1]):
        weight[origin, at] = weight[origin, at] / total if total > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _waterfill(  # type: ignore[no-untyped-def]
    reach, demand, spare, site_ms, hop_ms, slo_ms, previous, damping, reserve
):
    weight = np.zeros(reach.shape, np.float32)
    room = _room(spare, site_ms, slo_ms)
    left = _pour(reach, demand, room, site_ms, hop_ms, slo_ms, weight)
    _keep_doors_open(reach, demand, left, reserve, weight)
    for origin in range(len(reach)):
        filled = 0.0
        for at in range(reach.shape[1]):
            filled += weight[origin, at]
        if filled <= 0.0:
            _spread(reach, room, origin, weight)
        _blend(reach, room, previous, damping, origin, weight)
    return weight
