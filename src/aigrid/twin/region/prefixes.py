# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""How much of a prompt a site has in its cache: by the hashes of a trace, or by chance."""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def by_session(prefix, stand, ring, site, chance, luck):
    """Part of the prompt that is there: where the session was before, with its probability.

    The request before in the session is one of the last M of the same origin and service.

    Args:
        prefix: of the service.
        stand: of the origin and service.
        ring: (M,) sites that served those M.
        site: that takes the request.
        chance: uniform, which of them came before.
        luck: uniform, whether the prefix is still there.
    """
    before = ring[min(int(chance * len(ring)), len(ring) - 1)]
    found = prefix.spared if before == site and luck < prefix.residency else 0.0
    at = stand.session_at
    ring[at] = site
    stand.session_at = (at + 1) % len(ring)
    return found


@njit(**_OPTIONS)
def by_hashes(kept, begin, end, blocks, clock):
    """Leading blocks that a site has; afterwards it has them all.

    Args:
        kept: sets of all sites.
        begin: first set of the site.
        end: set after its last.
        blocks: (B,) hashes, in order; each stands for all before it too.
        clock: rises with each call.
    """
    found, leading = 0, True
    if end <= begin:
        return found
    for at in range(len(blocks)):
        key = blocks[at]
        ways = kept[begin + np.int64(_mixed(key) % np.uint64(end - begin))]
        here, oldest = -1, 0
        for way in range(len(ways)):
            if ways[way].block == key:
                here = way
            if ways[way].used < ways[oldest].used:
                oldest = way
        if here < 0:
            leading = False
            here = oldest
            ways[here].block = key
        if leading:
            found += 1
        ways[here].used = clock
    return found


@njit(**_OPTIONS)
def _mixed(key):
    """The finaliser of SplitMix64, so that hashes in a row do not share a set."""
    bits = (np.uint64(key) ^ (np.uint64(key) >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
