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

# No check for division by zero in loops: every divisor is looked at before.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Part of a site's leftover that its services get alike, whatever is wanted of them here: load may
# overflow from elsewhere.
EVEN_PART = 0.25
# A weight below this is none.
NOTHING = 1e-4
# Weight of the one slow candidate that an origin keeps when it has no second one in time.
LAST_RESORT = 1e-3


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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def _room(spare, site_ms, slo_ms):  # type: ignore[no-untyped-def]
    """What each site has to spare, bent by how it does, and how late it is; 0 and inf if shut."""
    room, late_ms = np.zeros(len(spare)), np.full(len(spare), np.inf, np.float32)
    for row in range(len(spare)):
        if spare[row] > 0.0 and np.isfinite(site_ms[row]):
            room[row] = spare[row] * min(1.0, max(0.25, 1.5 - site_ms[row] / slo_ms))
            late_ms[row] = site_ms[row]
    return room, late_ms


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def _first(bits):  # type: ignore[no-untyped-def]
    """Place of the lowest bit; bits are not 0."""
    at = 0
    while not (bits >> at) & 1:
        at += 1
    return at


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def _drain(left, applied):  # type: ignore[no-untyped-def]
    """Take what is applied for; `applied` becomes the part of it that was there."""
    for site in range(len(left)):
        if applied[site] > 0.0:
            part = min(1.0, left[site] / applied[site])
            left[site] = max(left[site] - applied[site], 0.0)
            applied[site] = part


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def _spread(reach, room, origin, weight):  # type: ignore[no-untyped-def]
    """In proportion to room; the sum."""
    total = np.float32(0.0)
    for at in range(reach.shape[1]):
        if reach[origin, at] >= 0:
            weight[origin, at] = room[reach[origin, at]]
            total += weight[origin, at]
    return total


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def _open(reach, each, fits, doors, weight, total, used):  # type: ignore[no-untyped-def]
    """Move a small part of each origin's load to its doors; sums and numbers of weights."""
    none = np.float32(0.0)
    for origin in range(len(reach)):
        mine, sum_, count = np.int64(doors[origin]), none, 0
        for at in range(reach.shape[1]):
            part = np.float32(fits[max(reach[origin, at], 0)])
            one = weight[origin, at] + (each * part if (mine >> at) & 1 else none)
            weight[origin, at] = one
            sum_ += one
            count += one > none
        total[origin], used[origin] = sum_, count


@njit(**_OPTIONS)
def _complete(reach, room, late_ms, hop_ms, weight, total, used):  # type: ignore[no-untyped-def]
    """Spread what nobody is known to ask or nobody has room for; a last resort for who has one."""
    for origin in range(len(reach)):
        if used[origin] == 0:
            total[origin] = _spread(reach, room, origin, weight)
        elif used[origin] == 1:
            total[origin] += _second(reach, late_ms, hop_ms, origin, weight)


@njit(**_OPTIONS)
def _blend(reach, late_ms, previous, damping, weight, total):  # type: ignore[no-untyped-def]
    """Normalise, move part of the way from the weights before, normalise."""
    none, one, least = np.float32(0.0), np.float32(1.0), np.float32(NOTHING)
    for origin in range(len(reach)):
        if not total[origin] > none:
            continue
        part, sum_ = one / total[origin], none
        for at in range(reach.shape[1]):
            new, old = weight[origin, at] * part, previous[origin, at]
            if old > none and not new > none:
                # Who may serve no longer is left at once.
                site = reach[origin, at]
                old = old if site >= 0 and late_ms[site] < np.inf else none
            kept = damping if old > none else none  # who comes new is not held back
            mixed = kept * old + (one - kept) * new
            mixed = mixed if (new > none) | (mixed >= least) else none
            weight[origin, at] = mixed
            sum_ += mixed
        for at in range(reach.shape[1]):
            weight[origin, at] /= sum_


@njit(**_OPTIONS)
def _normalise(weight, total):  # type: ignore[no-untyped-def]
    for origin in range(len(weight)):
        if total[origin] > 0.0:
            for at in range(weight.shape[1]):
                weight[origin, at] /= total[origin]


@njit(**_OPTIONS)
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
    total, used = np.empty(len(reach), np.float32), np.empty(len(reach), np.int8)
    _open(reach, each, applied, bits, weight, total, used)
    _complete(reach, room, late_ms, hop_ms, weight, total, used)
    if len(previous) > 0:
        _blend(reach, late_ms, previous, np.float32(damping), weight, total)
    else:
        _normalise(weight, total)
    return weight
