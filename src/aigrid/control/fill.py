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

from aigrid.control import pour
from aigrid.control.policy import Policy
from aigrid.core.state import BoolColumn, FloatColumn

# No check for division by zero in loops: every divisor is looked at before.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Part of a site's leftover that its services get alike, whatever is wanted of them here: load may
# overflow from elsewhere.
EVEN_PART = 0.25


def split(
    policy: Policy,
    compute: FloatColumn,
    wanted: FloatColumn,
    work_s: FloatColumn,
    resident: BoolColumn,
    out: FloatColumn | None = None,
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
        out: (N, S) to fill and return; None for a new one.

    Returns:
        (N, S) requests a second; 0 where a service is not resident or there is no compute.
    """
    spare = np.empty(wanted.shape) if out is None else out
    _split(
        np.ascontiguousarray(compute, np.float64),
        np.asarray(wanted, np.float64),
        np.ascontiguousarray(work_s, np.float64),
        np.asarray(resident, np.bool_),
        policy.route_fill,
        spare,
    )
    return spare


@njit(**_OPTIONS)
def _split(compute, wanted, work_s, resident, fill, spare):  # type: ignore[no-untyped-def]
    sites, services = wanted.shape
    for row in range(sites):
        room = compute[row] * fill
        total, standing = 0.0, 0
        for service in range(services):
            spare[row, service] = 0.0
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


def waterfill(
    policy: Policy,
    reach: NDArray[np.int32],
    demand: FloatColumn,
    spare: FloatColumn,
    site_ms: FloatColumn,
    hop_ms: NDArray[np.float32],
    slo_ms: float,
    previous: NDArray[np.float32] | None = None,
    out: NDArray[np.float32] | None = None,
    work: pour.Work | None = None,
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
        out: (O, K) float32 to fill and return, and not `previous`; None for a new one.
        work: of `pour.work_of`, from an earlier call; one of another size is not used.

    Returns:
        (O, K) float32; rows sum to 1, or to 0 where nobody has anything to spare.
    """
    shape = reach.shape
    old = np.zeros((0, shape[1]), np.float32) if previous is None else previous
    weight = np.empty(shape, np.float32) if out is None else out
    if work is None or not work.fits_to(shape, len(spare)):
        work = pour.work_of(shape[0], len(spare), shape[1])
    pour.pour(
        np.ascontiguousarray(reach, np.int32),
        np.ascontiguousarray(demand, np.float64),
        np.ascontiguousarray(spare, np.float64),
        np.ascontiguousarray(site_ms, np.float64),
        np.ascontiguousarray(hop_ms, np.float32),
        float(slo_ms),
        np.ascontiguousarray(old, np.float32),
        policy.route_damping,
        policy.route_reserve,
        work,
        weight,
        # A tuple's length is known when this is compiled.
        (0,) * shape[1] if pour.is_unrolled(*shape) else np.zeros(shape[1], np.int8),
    )
    return weight
