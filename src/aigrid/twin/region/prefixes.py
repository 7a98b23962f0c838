# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""How much of a prompt a site has in its cache: by the hashes of a trace, or by chance."""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def by_session(gateways, origin, service, site, chance):
    """Part of the prompt that is there: where the session was before, with its probability.

    The request before in the session is one of the last M of the same origin and service.

    Args:
        gateways: sessions.
        origin: of the request.
        service: of it.
        site: that took it.
        chance: (2,) uniform, of `Arrivals`.
    """
    ring = gateways.session[origin, service]
    before = ring[min(int(chance[0] * len(ring)), len(ring) - 1)]
    found = gateways.spared[service] if before == site else 0.0
    if chance[1] >= gateways.residency[service]:
        found = 0.0
    at = gateways.session_at[origin, service]
    ring[at] = site
    gateways.session_at[origin, service] = (at + 1) % len(ring)
    return found


@njit(**_OPTIONS)
def by_hashes(cache, site, blocks, clock):
    """Leading blocks that the site has; afterwards it has them all.

    Args:
        cache: of all sites.
        site: that took the request.
        blocks: (B,) hashes, in order; each stands for all before it too.
        clock: rises with each call.
    """
    begin = cache.first[site]
    kept, sets = 0, cache.first[site + 1] - begin
    if sets <= 0:
        return kept
    leading = True
    for at in range(len(blocks)):
        key = blocks[at]
        row = begin + np.int64(_mixed(key) % np.uint64(sets))
        ways, used = cache.block[row], cache.used[row]
        found, oldest = -1, 0
        for way in range(len(ways)):
            if ways[way] == key:
                found = way
            if used[way] < used[oldest]:
                oldest = way
        if found >= 0 and leading:
            kept += 1
        if found < 0:
            leading = False
            found = oldest
            ways[found] = key
        used[found] = clock
    return kept


@njit(**_OPTIONS)
def _mixed(key):
    """The finaliser of SplitMix64, so that hashes in a row do not share a set."""
    bits = (np.uint64(key) ^ (np.uint64(key) >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
