"""Kernels of water-filling (`fill.waterfill`): a service's load over the sites that origins reach.

Most kernels take all cells of a table in one row, or a few hundred, without a branch, and what they
look up elsewhere is looked up before: so a processor takes eight cells at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.control.policy import Policy

# No check for division by zero in loops: every divisor is looked at before.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# A weight below this is none.
NOTHING = 1e-4
# Weight of the one slow candidate that an origin keeps when it has no second one in time.
LAST_RESORT = 1e-3
# Origins that kernels take in turn, so that what one hands to the next is still in the cache.
BLOCK = 128
# Candidates of the usual policy, for which the loops over them are compiled to straight lines.
USUAL = Policy().candidates
# So few are worth that only for many origins: live grids pass through every number of candidates,
# and a compiler takes seconds.
HALF, MANY = USUAL // 2, 4096


def is_unrolled(origins: int, width: int) -> bool:
    """Whether loops over so many candidates are straight lines."""
    return width == USUAL or (width == HALF and origins >= MANY)


class Work(NamedTuple):
    """What water-filling works in, for O origins, N sites and K candidates.

    Whoever decides again and again gives the same one again: memory that is new each time costs as
    much as the decision.

    Attributes:
        room: (N + 1,) what each site has to spare.
        late_ms: (N + 1,) how late each is.
        left: (N + 1,) of `room`.
        applied: (N + 1,) what is asked of each.
        fits: (N + 1,) the part of it that fits.
        timely: (O, K) whether a candidate keeps the promise.
        bits: (O,) the same, as a set of bits.
        done: (O,) candidates that were tried, as a set of bits.
        choice: (O,) column of the one tried now.
        rest: (O,) part of the load that has no place yet.
        asking: (O,) rows of origins that have some.
        site: (O,) that each of these tries now.
    """

    room: NDArray[np.float64]
    late_ms: NDArray[np.float32]
    left: NDArray[np.float64]
    applied: NDArray[np.float64]
    fits: NDArray[np.float32]
    timely: NDArray[np.bool_]
    bits: NDArray[Any]
    done: NDArray[Any]
    choice: NDArray[np.int8]
    rest: NDArray[np.float32]
    asking: NDArray[np.int32]
    site: NDArray[np.int32]

    def fits_to(self, shape: tuple[int, ...], sites: int) -> bool:
        """Whether it is of the size for (O, K) candidates and so many sites."""
        return self.timely.shape == shape and len(self.room) == sites + 1


def work_of(origins: int, sites: int, width: int) -> Work:
    """Room to work in for so many origins, sites and candidates."""
    bits = np.uint8 if is_unrolled(origins, width) else np.int64
    return Work(
        room=np.empty(sites + 1),
        late_ms=np.empty(sites + 1, np.float32),
        left=np.empty(sites + 1),
        applied=np.empty(sites + 1),
        fits=np.empty(sites + 1, np.float32),
        timely=np.empty((origins, width), np.bool_),
        bits=np.empty(origins, bits),
        done=np.empty(origins, bits),
        choice=np.empty(origins, np.int8),
        rest=np.empty(origins, np.float32),
        asking=np.empty(origins, np.int32),
        site=np.empty(origins, np.int32),
    )


@njit(**_OPTIONS)
def _room(spare, site_ms, slo_ms, room, late_ms):  # type: ignore[no-untyped-def]
    """What each site has to spare, bent by how it does, and how late it is; 0 and inf if shut.

    One more row stands at the end, shut: it is the one that -1, no candidate, is found in.
    """
    for row in range(len(spare)):
        able = (spare[row] > 0.0) & np.isfinite(site_ms[row])
        part = min(1.0, max(0.25, 1.5 - site_ms[row] / slo_ms))
        room[row] = spare[row] * part if able else 0.0
        late_ms[row] = site_ms[row] if able else np.inf
    room[-1], late_ms[-1] = 0.0, np.inf


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
def _look_up(rows, table, found):  # type: ignore[no-untyped-def]
    """On its own, so that kernels that reckon with what is found run eight cells at a time."""
    for at in range(len(rows)):
        found[at] = table[rows[at]]


@njit(**_OPTIONS)
def _in_time(late_ms, hop_ms, slo_ms, timely):  # type: ignore[no-untyped-def]
    limit_ms = np.float32(slo_ms)
    for at in range(len(late_ms)):
        timely[at] = late_ms[at] + np.float32(2.0) * hop_ms[at] <= limit_ms


@njit(**_OPTIONS)
def _timely(reach, late_ms, hop_ms, slo_ms, timely):  # type: ignore[no-untyped-def]
    """Which candidates keep the promise; all origins' in one row."""
    late = np.empty(BLOCK * 8, np.float32)
    for first in range(0, len(reach), len(late)):
        here = slice(first, min(first + len(late), len(reach)))
        some = late[: here.stop - here.start]
        _look_up(reach[here], late_ms, some)
        _in_time(some, hop_ms[here], slo_ms, timely[here])


@njit(**_OPTIONS)
def _first(bits):  # type: ignore[no-untyped-def]
    """Place of the lowest bit, which is the exponent of its value; bits are not 0."""
    return (np.float32(bits & -bits).view(np.int32) >> 23) - 127


@njit(**_OPTIONS)
def _begin(demand, timely, bits, asking, columns):  # type: ignore[no-untyped-def]
    """Note as bits which candidates are in time; none where nobody asks. Returns how many ask."""
    asked = 0
    for origin in range(len(demand)):
        asks, mine = demand[origin] > 0.0, np.int64(0)
        for at in range(len(columns)):
            timely[origin, at] &= asks
            mine |= np.int64(timely[origin, at]) << at
        bits[origin], asking[asked] = mine, origin
        asked += asks
    return asked


@njit(**_OPTIONS)
def _choose(reach, late_ms, hop_ms, bits, done, choice, asking, site):  # type: ignore[no-untyped-def]
    """The next candidate of each origin that asks, and its `site`.

    Returns how many have one, first in `asking` as in `site`.
    """
    asked = 0
    for origin in asking:
        tried = np.int64(done[origin])
        open_ = np.int64(bits[origin]) & ~tried
        at = _first(open_) if open_ else _slow(reach, late_ms, hop_ms, origin, tried)
        if at >= 0:
            choice[origin] = at
            done[origin] = tried | np.int64(1) << at
            asking[asked], site[asked] = origin, reach[origin, at]
            asked += 1
    return asked


@njit(**_OPTIONS)
def _apply(demand, rest, asking, site, applied):  # type: ignore[no-untyped-def]
    """What `asking` have no place for yet is applied for at the site of each."""
    applied[:] = 0.0
    for index in range(len(asking)):
        origin = asking[index]
        applied[site[index]] += demand[origin] * rest[origin]


@njit(**_OPTIONS)
def _drain(left, applied):  # type: ignore[no-untyped-def]
    """Take what is applied for; `applied` becomes the part of it that was there."""
    for site in range(len(left)):
        part = left[site] / applied[site] if applied[site] > 0.0 else 1.0
        left[site] = max(left[site] - applied[site], 0.0)
        applied[site] = min(part, 1.0)


@njit(**_OPTIONS)
def _grant(granted, choice, rest, asking, site, weight):  # type: ignore[no-untyped-def]
    """Give `asking` what there was for them; returns how many ask on, first in `asking`."""
    asked = 0
    for index in range(len(asking)):
        origin, part = asking[index], np.float32(granted[site[index]])
        weight[origin, choice[origin]] = rest[origin] * part
        rest[origin] *= np.float32(1.0) - part
        asking[asked] = origin
        asked += rest[origin] > NOTHING
    return asked


@njit(**_OPTIONS)
def _fill(reach, demand, hop_ms, work, weight, columns):  # type: ignore[no-untyped-def]
    """Fill candidate after candidate, all origins at once, out of what each site has left."""
    left, applied, late_ms, site = work.left, work.applied, work.late_ms, work.site
    bits, choice, done, rest, asking = work.bits, work.choice, work.done, work.rest, work.asking
    weight[:], rest[:], done[:] = 0.0, 1.0, 0
    asking = asking[: _begin(demand, work.timely, bits, asking, columns)]
    while len(asking) > 0:
        asking = asking[: _choose(reach, late_ms, hop_ms, bits, done, choice, asking, site)]
        _apply(demand, rest, asking, site, applied)
        _drain(left, applied)
        asking = asking[: _grant(applied, choice, rest, asking, site, weight)]


@njit(**_OPTIONS)
def _doors(reach, demand, timely, each, weight, applied, columns):  # type: ignore[no-untyped-def]
    """A small part of each origin's load is applied for where it is in time and not needed."""
    for origin in range(len(reach)):
        more = demand[origin] * each
        for at in range(len(columns)):
            is_door = timely[origin, at] & (weight[origin, at] < each)
            applied[reach[origin, at]] += more if is_door else 0.0


@njit(**_OPTIONS)
def _fits(left, applied, late_ms, fits):  # type: ignore[no-untyped-def]
    """The part of what is applied for that sites have left; below 0 where one is shut."""
    for site in range(len(left)):
        part = left[site] / applied[site] if applied[site] > 0.0 else 1.0
        fits[site] = min(part, 1.0) if late_ms[site] < np.inf else -1.0


@njit(**_OPTIONS)
def _open(timely, each, fits, previous, weight, old):  # type: ignore[no-untyped-def]
    """Move a small part of the load to doors; `old` is `previous` but for who is shut by now."""
    none = np.float32(0.0)
    for at in range(len(fits)):
        is_door = timely[at] & (weight[at] < each)
        weight[at] += each * fits[at] if is_door else none
        # Who may serve no longer is left at once.
        old[at] = previous[at] if fits[at] >= none else none


@njit(**_OPTIONS)
def _sums(weight, total, most, columns):  # type: ignore[no-untyped-def]
    """Sum of each row, and its largest."""
    for row in range(len(total)):
        sum_, largest = np.float32(0.0), np.float32(0.0)
        for at in range(len(columns)):
            one = weight[row * len(columns) + at]
            sum_ += one
            largest = max(largest, one)
        total[row], most[row] = sum_, largest


@njit(**_OPTIONS)
def _spread(reach, room, origin, weight):  # type: ignore[no-untyped-def]
    """In proportion to room; the sum."""
    total = np.float32(0.0)
    for at in range(reach.shape[1]):
        weight[origin, at] = room[reach[origin, at]]
        total += weight[origin, at]
    return total


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
def _lone(reach, room, late_ms, hop_ms, first, weight, total, most):  # type: ignore[no-untyped-def]
    """Spread what nobody is known to ask or has room for; a last resort for who has one only."""
    for row in range(len(total)):
        # The sum is the largest: there is none or one, but for what rounding hides.
        if total[row] == most[row]:
            origin, used = first + row, 0
            for at in range(weight.shape[1]):
                used += weight[origin, at] > 0.0
            if used == 0:
                total[row] = _spread(reach, room, origin, weight)
            elif used == 1:
                total[row] += _second(reach, late_ms, hop_ms, origin, weight)


@njit(**_OPTIONS)
def _repeat(value, each, columns):  # type: ignore[no-untyped-def]
    """A row's value for each of its candidates; 1 in place of 0."""
    for row in range(len(value)):
        one = value[row] if value[row] > 0.0 else np.float32(1.0)
        for at in range(len(columns)):
            each[row * len(columns) + at] = one


@njit(**_OPTIONS)
def _blend(old, damping, total, weight):  # type: ignore[no-untyped-def]
    """Normalise, and move part of the way from the weights before."""
    none, one, least = np.float32(0.0), np.float32(1.0), np.float32(NOTHING)
    kept = np.float32(damping)
    for at in range(len(weight)):
        new = weight[at] * (one / total[at])
        # Who comes new is not held back.
        mixed = kept * old[at] + (one - kept) * new if old[at] > none else new
        weight[at] = mixed if (new > none) | (mixed >= least) else none


@njit(**_OPTIONS)
def _normalise(total, weight):  # type: ignore[no-untyped-def]
    for at in range(len(weight)):
        weight[at] /= total[at]


@njit(**_OPTIONS)
def _complete(  # type: ignore[no-untyped-def]
    reach, timely, each, fits, room, late_ms, hop_ms, previous, damping, weight, columns
):
    """Open doors, complete rows, blend with the weights before if there are any, normalise."""
    width = len(columns)
    old, share = np.empty(BLOCK * width, np.float32), np.empty(BLOCK * width, np.float32)
    total, most = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    flat_reach, flat_timely, flat = reach.reshape(-1), timely.reshape(-1), weight.reshape(-1)
    before = previous.reshape(-1) if len(previous) > 0 else flat
    for first in range(0, len(reach), BLOCK):
        last = min(first + BLOCK, len(reach))
        here, rows = slice(first * width, last * width), slice(0, last - first)
        mine, cells = flat[here], slice(0, (last - first) * width)
        _look_up(flat_reach[here], fits, share[cells])
        _open(flat_timely[here], each, share[cells], before[here], mine, old[cells])
        _sums(mine, total[rows], most[rows], columns)
        _lone(reach, room, late_ms, hop_ms, first, weight, total[rows], most[rows])
        _repeat(total[rows], share, columns)
        if len(previous) > 0:
            _blend(old[cells], damping, share[cells], mine)
            _sums(mine, total[rows], most[rows], columns)
            _repeat(total[rows], share, columns)
        _normalise(share[cells], mine)


@njit(**_OPTIONS)
def pour(  # type: ignore[no-untyped-def]
    reach, demand, spare, site_ms, hop_ms, slo_ms, previous, damping, reserve, work, weight, columns
):
    """Weights of one service; all arguments but the last three are as in `fill.waterfill`.

    Args:
        reach: (O, K).
        demand: (O,).
        spare: (N,).
        site_ms: (N,).
        hop_ms: (O, K).
        slo_ms: promised.
        previous: (O, K) or (0, K) for none.
        damping: part of the weights before that is kept.
        reserve: part of an origin's load for its doors.
        work: to work in; what it holds before does not matter.
        weight: (O, K) float32 to fill.
        columns: K values, any: a tuple's length is known when this is compiled.
    """
    room, late_ms, timely = work.room, work.late_ms, work.timely
    left, applied, fits = work.left, work.applied, work.fits
    _room(spare, site_ms, slo_ms, room, late_ms)
    left[:] = room
    _timely(reach.reshape(-1), late_ms, hop_ms.reshape(-1), slo_ms, timely.reshape(-1))
    _fill(reach, demand, hop_ms, work, weight, columns)
    each = np.float32(reserve / len(columns))
    applied[:] = 0.0
    _doors(reach, demand, timely, each, weight, applied, columns)
    _fits(left, applied, late_ms, fits)
    _complete(reach, timely, each, fits, room, late_ms, hop_ms, previous, damping, weight, columns)
