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
# Weight of the one slow candidate that an origin keeps when it has no second one in time.
LAST_RESORT = 1e-3
# Candidates that a row can have: they are kept as bits.
WIDEST = 62


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
    load goes to candidates in time that have room and are not needed, so that a gateway has
    somewhere to go; late ones get none of it, but for a thousandth where there is no other.

    Args:
        policy: dials.
        reach: (O, K) rows of sites, -1 for none; origins need not be sites.
        demand: (O,) requests a second; 0 for unknown.
        spare: (N,) requests a second that each site can take; 0 where it may not, or is down.
        site_ms: (N,) time to first token from the site's door: wait, cold start, prefill. Whoever
            knows more promises than that one gives the time that stands for the worst kept.
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
        np.empty(shape[0], np.uint8 if shape[1] <= 8 else np.int64),
    )
    return weight


@njit(cache=True, nogil=True)
def _room(spare, site_ms, slo_ms):  # type: ignore[no-untyped-def]
    """What each site has to spare, bent by how it does, and how late it is; 0 and inf if shut."""
    room, late_ms = np.zeros(len(spare)), np.full(len(spare), np.inf, np.float32)
    for row in range(len(spare)):
        if spare[row] > 0.0 and np.isfinite(site_ms[row]):
            room[row] = spare[row] * min(1.0, max(0.25, 1.5 - site_ms[row] / slo_ms))
            late_ms[row] = site_ms[row]
    return room, late_ms


@njit(cache=True, nogil=True)
def _timely(reach, demand, late_ms, hop_ms, slo_ms, bits):  # type: ignore[no-untyped-def]
    """Bits of each origin's candidates that keep the promise; none where nobody asks."""
    limit_ms, shut_ms = np.float32(slo_ms), np.float32(np.inf)
    for origin in range(len(reach)):
        found = np.int64(0)
        for at in range(reach.shape[1]):
            site = reach[origin, at]
            ms = late_ms[site] if site >= 0 else shut_ms
            found |= np.int64(ms + np.float32(2.0) * hop_ms[origin, at] <= limit_ms) << at
        bits[origin] = found if demand[origin] > 0.0 else 0


@njit(cache=True, nogil=True)
def _slow(reach, late_ms, hop_ms, origin, done):  # type: ignore[no-untyped-def]
    """The fastest candidate not in the bit set `done`; -1: none."""
    best, best_ms = -1, np.inf
    for at in range(reach.shape[1]):
        site = reach[origin, at]
        if site >= 0 and not (done >> at) & 1:
            ms = late_ms[site] + 2.0 * hop_ms[origin, at]
            if ms < best_ms:
                best, best_ms = at, ms
    return best


@njit(cache=True, nogil=True)
def _first(bits):  # type: ignore[no-untyped-def]
    """Place of the lowest bit; bits are not 0."""
    at = 0
    while not (bits >> at) & 1:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _choose(reach, late_ms, hop_ms, bits, done, choice, asking):  # type: ignore[no-untyped-def]
    """The next candidate of each origin that asks; returns how many have one, first in `asking`."""
    asked = 0
    for index in range(len(asking)):
        origin = asking[index]
        tried = np.int64(done[origin])
        open_ = np.int64(bits[origin]) & ~tried
        at = _first(open_) if open_ else _slow(reach, late_ms, hop_ms, origin, tried)
        if at >= 0:
            choice[origin] = at
            done[origin] = tried | np.int64(1) << at
            asking[asked] = origin
            asked += 1
    return asked


@njit(cache=True, nogil=True)
def _drain(left, applied):  # type: ignore[no-untyped-def]
    """Take what is applied for; `applied` becomes the part of it that was there."""
    for site in range(len(left)):
        if applied[site] > 0.0:
            part = min(1.0, left[site] / applied[site])
            left[site] = max(left[site] - applied[site], 0.0)
            applied[site] = part


@njit(cache=True, nogil=True)
def _pour(  # type: ignore[no-untyped-def]
    reach, demand, left, applied, late_ms, hop_ms, bits, weight
):
    """Fill candidate after candidate, all origins at once, out of what each site has left."""
    origins, width = reach.shape
    rest, done = np.ones(origins, np.float32), np.zeros_like(bits)
    choice = np.zeros(origins, np.int8)
    asking = np.flatnonzero(demand > 0.0).astype(np.int32)
    for _ in range(width):
        asked = _choose(reach, late_ms, hop_ms, bits, done, choice, asking)
        applied[:] = 0.0
        for origin in asking[:asked]:
            applied[reach[origin, choice[origin]]] += demand[origin] * rest[origin]
        _drain(left, applied)
        count = 0
        for index in range(asked):
            origin = asking[index]
            part = np.float32(applied[reach[origin, choice[origin]]])
            weight[origin, choice[origin]] = rest[origin] * part
            rest[origin] *= np.float32(1.0) - part
            asking[count] = origin
            count += rest[origin] > NOTHING
        asking = asking[:count]
        if count == 0:
            break


@njit(cache=True, nogil=True)
def _spread(reach, room, origin, weight):  # type: ignore[no-untyped-def]
    """In proportion to room; the sum."""
    total = np.float32(0.0)
    for at in range(reach.shape[1]):
        if reach[origin, at] >= 0:
            weight[origin, at] = room[reach[origin, at]]
            total += weight[origin, at]
    return total


@njit(cache=True, nogil=True)
def _doors(reach, demand, left, applied, each, bits, weight):  # type: ignore[no-untyped-def]
    """Leave in `bits` the candidates in time that have room and are not needed.

    `applied` becomes the part of what they are asked for that sites have room for.
    """
    applied[:] = 0.0
    for origin in range(len(reach)):
        if bits[origin]:
            doors, timely = np.int64(0), np.int64(bits[origin])
            for at in range(reach.shape[1]):
                if (timely >> at) & 1 and weight[origin, at] < each:
                    site = reach[origin, at]
                    if left[site] > 0.0:
                        applied[site] += demand[origin] * each
                        doors |= np.int64(1) << at
            bits[origin] = doors
    _drain(left, applied)


@njit(cache=True, nogil=True)
def _second(reach, late_ms, hop_ms, origin, weight):  # type: ignore[no-untyped-def]
    """Give the fastest candidate but the only one in use a little, where there is one."""
    only = 0
    while not weight[origin, only] > 0.0:
        only += 1
    at = _slow(reach, late_ms, hop_ms, origin, np.int64(1) << only)
    if at >= 0:
        weight[origin, at] = LAST_RESORT * weight[origin, only]
        return weight[origin, at]
    return np.float32(0.0)


@njit(cache=True, nogil=True)
def _open(candidates, each, fits, doors, weight):  # type: ignore[no-untyped-def]
    """Move a small part of an origin's load to its doors; sum and number of its weights."""
    total, used = np.float32(0.0), 0
    for at in range(len(weight)):
        if (doors >> at) & 1:
            weight[at] += each * fits[candidates[at]]
        total += weight[at]
        used += weight[at] > 0.0
    return total, used


@njit(cache=True, nogil=True)
def _blend(candidates, late_ms, before, damping, total, weight):  # type: ignore[no-untyped-def]
    """Normalise, move part of the way from the weights before, normalise."""
    none, one, least = np.float32(0.0), np.float32(1.0), np.float32(NOTHING)
    part = one / total
    for at in range(len(weight)):
        new, site = weight[at] * part, max(candidates[at], 0)
        # Who comes new is not held back; who may serve no longer is left at once.
        stays = (before[at] > none) & (candidates[at] >= 0) & (late_ms[site] < np.inf)
        kept = damping if stays else none
        mixed = kept * before[at] + (one - kept) * new
        weight[at] = mixed if (new > none) | (mixed >= least) else none
    sum_ = none
    for at in range(len(weight)):
        sum_ += weight[at]
    _scale(np.float32(1.0) / sum_, weight)


@njit(cache=True, nogil=True)
def _scale(factor, weight):  # type: ignore[no-untyped-def]
    for at in range(len(weight)):
        weight[at] *= factor


@njit(cache=True, nogil=True)
def _settle(  # type: ignore[no-untyped-def]
    reach, room, late_ms, hop_ms, each, fits, doors, previous, damping, weight
):
    """Open doors, spread what nobody is known to ask, normalise, damp: row after row."""
    for origin in range(len(reach)):
        row = weight[origin]
        total, used = _open(reach[origin], each, fits, np.int64(doors[origin]), row)
        if used == 0:
            total = _spread(reach, room, origin, weight)
        elif used == 1:
            total += _second(reach, late_ms, hop_ms, origin, weight)
        if total > 0.0:
            if len(previous) > 0:
                _blend(reach[origin], late_ms, previous[origin], damping, total, row)
            else:
                _scale(np.float32(1.0) / total, row)


@njit(cache=True, nogil=True)
def _waterfill(  # type: ignore[no-untyped-def]
    reach, demand, spare, site_ms, hop_ms, slo_ms, previous, damping, reserve, bits
):
    weight, applied = np.zeros(reach.shape, np.float32), np.zeros(len(spare))
    room, late_ms = _room(spare, site_ms, slo_ms)
    left = room.copy()
    _timely(reach, demand, late_ms, hop_ms, slo_ms, bits)
    _pour(reach, demand, left, applied, late_ms, hop_ms, bits, weight)
    each = np.float32(reserve / reach.shape[1])
    _doors(reach, demand, left, applied, each, bits, weight)
    soft = np.float32(damping)
    _settle(reach, room, late_ms, hop_ms, each, applied, bits, previous, soft, weight)
    return weight
