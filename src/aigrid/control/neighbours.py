"""Who may serve an origin, in the order of the network, and how far they are."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.core.state import FloatColumn, IntColumn, SmallColumn

# Mean radius (IUGG, 1980).
EARTH_RADIUS_KM = 6371.0088
# Light in fibre: c / 1.468 (ITU-T G.652 group index) is 4.9 microseconds a km; cables run longer
# than the crow flies by about 1.4 (Bozkurt et al., 'Why is the Internet so slow?!', PAM 2017).
FIBRE_MS_PER_KM = 0.0049 * 1.4
# Longest way up that is looked at; parents in a circle end there.
DEPTH_LIMIT = 16


def reach(parent: IntColumn, kind: SmallColumn, width: int) -> NDArray[np.int32]:
    """The sites that each site's requests may be served by, nearest in the network first.

    Itself, siblings in turn (so that neighbours do not share one favourite), the parent, the
    parent's siblings, and so on up to the root and the first root of the highest kind. Where
    `width` is short, the way up comes before further siblings: a hub may have thousands of towers,
    and overflow must find the hub.

    Args:
        parent: (N,) row of the site above; -1 for a root.
        kind: (N,) index into `core.site.SITE_KINDS`, the highest first.
        width: K, candidates at most.

    Returns:
        (N, K) int32 rows of sites, each once; -1 past the last.
    """
    rows: NDArray[np.int32] = _reach(
        np.ascontiguousarray(parent, np.int32), np.ascontiguousarray(kind, np.int8), width
    )
    return rows


@njit(cache=True, nogil=True)
def _rings(parent):  # type: ignore[no-untyped-def]
    """Children of each site, roots last: starts (N + 2,), members (N,), place of each (N,)."""
    count = len(parent)
    start = np.zeros(count + 2, np.int32)
    for row in range(count):
        ring = parent[row] if parent[row] >= 0 else count
        start[ring + 1] += 1
    for ring in range(count + 1):
        start[ring + 1] += start[ring]
    member, place, filled = np.empty(count, np.int32), np.empty(count, np.int32), start.copy()
    for row in range(count):
        ring = parent[row] if parent[row] >= 0 else count
        place[row] = filled[ring] - start[ring]
        member[filled[ring]] = row
        filled[ring] += 1
    return start, member, place


@njit(cache=True, nogil=True)
def _way_up(row, parent, top, up):  # type: ignore[no-untyped-def]
    """Fills `up` with the row and those above it; the topmost kind of all at the end."""
    up[0], depth = row, 1
    while depth < len(up) - 1 and parent[up[depth - 1]] >= 0:
        above = parent[up[depth - 1]]
        for level in range(depth):
            if up[level] == above:
                return depth
        up[depth] = above
        depth += 1
    return depth


@njit(cache=True, nogil=True)
def _budgets(width, depth, size, take):  # type: ignore[no-untyped-def]
    """How many siblings of each level to take, and how many levels fit."""
    left = width - 1
    for level in range(depth):
        take[level] = 0
    if left > 0 and size[0] > 0:
        take[0] = 1
        left -= 1
    levels = 1
    while levels < depth and left > 0:
        levels += 1
        left -= 1
    for level in range(1, levels):
        if left > 0 and size[level] > 0:
            take[level] += 1
            left -= 1
    for level in range(levels):
        more = min(left, size[level] - take[level])
        take[level] += more
        left -= more
    return levels


@njit(cache=True, nogil=True)
def _add(found, line, count, site):  # type: ignore[no-untyped-def]
    for at in range(count):
        if found[line, at] == site:
            return count
    if count < found.shape[1]:
        found[line, count] = site
        count += 1
    return count


@njit(cache=True, nogil=True)
def _reach(parent, kind, width):  # type: ignore[no-untyped-def]
    sites = len(parent)
    found = np.full((sites, width), -1, np.int32)
    start, member, place = _rings(parent)
    top = -1
    for at in range(start[sites], start[sites + 1]):
        if top < 0 or kind[member[at]] < kind[top]:
            top = member[at]
    up = np.empty(DEPTH_LIMIT, np.int32)
    size, take = np.zeros(DEPTH_LIMIT, np.int32), np.zeros(DEPTH_LIMIT, np.int32)
    for row in range(sites):
        depth = _way_up(row, parent, top, up)
        for level in range(depth):
            ring = parent[up[level]] if parent[up[level]] >= 0 else sites
            size[level] = start[ring + 1] - start[ring] - 1
        levels = _budgets(width, depth, size, take)
        count = 0
        for level in range(levels):
            here = up[level]
            count = _add(found, row, count, here)
            ring = parent[here] if parent[here] >= 0 else sites
            length, begin = start[ring + 1] - start[ring], start[ring]
            for step in range(take[level]):
                sibling = member[begin + (place[here] + 1 + step) % length]
                count = _add(found, row, count, sibling)
        last = width - 1
        if top >= 0 and width > 2 and kind[top] < kind[up[depth - 1]]:
            if count <= last:
                _add(found, row, count, top)
            elif found[row, last] != top:
                known = False
                for at in range(last):
                    known = known or found[row, at] == top
                if not known:
                    found[row, last] = top
    return found


def hop_ms(
    reach: NDArray[np.int32],
    latitude_deg: FloatColumn,
    longitude_deg: FloatColumn,
    parent: IntColumn | None = None,
    router_ms: float = 0.0,
    ms_per_km: float = FIBRE_MS_PER_KM,
) -> NDArray[np.float32]:
    """The path from each site to each of its candidates, one way.

    Args:
        reach: (N, K) of `reach`.
        latitude_deg: (N,) WGS 84.
        longitude_deg: (N,) WGS 84.
        parent: (N,) row of the site above: paths go up and down this tree, and straight between
            roots. None: straight.
        router_ms: of each edge of the path.
        ms_per_km: delay of a km as the crow flies.

    Returns:
        (N, K) float32; 0 for a site itself and where there is no candidate.
    """
    lat = np.radians(np.ascontiguousarray(latitude_deg, np.float64))
    lon = np.radians(np.ascontiguousarray(longitude_deg, np.float64))
    roots = np.full(len(lat), -1, np.int32)
    above = roots if parent is None else np.ascontiguousarray(parent, np.int32)
    path_ms: NDArray[np.float32] = _hop_ms(
        np.ascontiguousarray(reach, np.int32), lat, lon, above, router_ms, ms_per_km
    )
    return path_ms


@njit(cache=True, nogil=True)
def great_circle_km(lat, lon, other_lat, other_lon):  # type: ignore[no-untyped-def]
    """Haversine formula (Sinnott, Sky & Telescope 68, 1984); numbers or arrays, in radians."""
    up, across = np.sin((lat - other_lat) / 2), np.sin((lon - other_lon) / 2)
    half = up * up + np.cos(lat) * np.cos(other_lat) * across * across
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(1.0, np.sqrt(half)))


@njit(cache=True, nogil=True)
def between_km(lat, lon, one, other):  # type: ignore[no-untyped-def]
    """Great circle between rows, which may be arrays; positions are in radians."""
    return great_circle_km(lat[one], lon[one], lat[other], lon[other])


def at_or_below(above: IntColumn, own: FloatColumn, out: FloatColumn | None = None) -> FloatColumn:
    """What comes from each site's place and all those below it.

    Args:
        above: (N,) row of the site above; -1 for none.
        own: (N, S) what comes from each place.
        out: (N, S) float64 to fill, not `own` itself; None for a new one.

    Returns:
        (N, S) sums.
    """
    found = np.empty(own.shape) if out is None else out
    found[:] = own
    _add_up(np.ascontiguousarray(above, np.int32), own, found)
    return found


@njit(cache=True, nogil=True)
def _add_up(above, own, found):  # type: ignore[no-untyped-def]
    """From what comes from each place alone, in `found`, to the sums."""
    ordered = True
    for row in range(len(above)):
        ordered &= above[row] < row
    if ordered:
        for column in range(own.shape[1]):
            _hand_on(above, found[:, column])
        return
    found[:] = 0.0
    for row in range(len(above)):
        site, depth = row, 0
        while site >= 0 and depth <= DEPTH_LIMIT:
            for column in range(own.shape[1]):
                found[site, column] += own[row, column]
            site, depth = above[site], depth + 1


@njit(cache=True, nogil=True)
def _hand_on(above, found):  # type: ignore[no-untyped-def]
    """Sites above come first: from the end, each has all of its own before it hands it on.

    Neighbours often have the same site above: its sum is kept at hand as long as they do.
    """
    site, total = -1, 0.0
    for row in range(len(above) - 1, -1, -1):
        if above[row] != site:
            if site >= 0:
                found[site] = total
            site = above[row]
            total = found[site] if site >= 0 else 0.0
        total += found[row]
    if site >= 0:
        found[site] = total


@njit(cache=True, nogil=True)
def _hop_ms(reach, lat, lon, parent, router_ms, ms_per_km):  # type: ignore[no-untyped-def]
    edge = np.zeros(len(lat))
    for row in range(len(lat)):
        if parent[row] >= 0:
            edge[row] = router_ms + ms_per_km * between_km(lat, lon, row, parent[row])
    found = np.zeros(reach.shape, np.float32)
    for row in range(reach.shape[0]):
        for at in range(reach.shape[1]):
            if reach[row, at] >= 0 and reach[row, at] != row:
                found[row, at] = _path_ms(
                    lat, lon, parent, edge, row, reach[row, at], router_ms, ms_per_km
                )
    return found


@njit(cache=True, nogil=True)
def _path_ms(lat, lon, parent, edge, one, other, router_ms, ms_per_km):  # type: ignore[no-untyped-def]
    """Up from both ends until they meet; between roots straight."""
    up_ms, here = 0.0, one
    for _ in range(DEPTH_LIMIT):
        down_ms, there = 0.0, other
        for _ in range(DEPTH_LIMIT):
            if here == there:
                return up_ms + down_ms
            if parent[there] < 0:
                break
            down_ms += edge[there]
            there = parent[there]
        if parent[here] < 0:
            return up_ms + down_ms + router_ms + ms_per_km * between_km(lat, lon, here, there)
        up_ms += edge[here]
        here = parent[here]
    return up_ms
