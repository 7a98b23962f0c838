"""A further move of the fast planner: open an empty site for several groups at once.

Groups move one by one elsewhere (`fast_kernels.shift`). A site that pays for three groups and not
for one is never found that way: the classic move of facility location (Kuehn and Hamburger, 1963).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aigrid.twin.planning.fast import Search

Floats = NDArray[np.float64]
# Groups that are moved together, at most, and services.
GROUPS_LIMIT, TOGETHER = 12, 2


def open_sites(search: Search) -> int:
    """Open each empty site that saves something; how many were opened."""
    model = search.model
    left = search.left()
    opened = 0
    services = range(len(model.rate))
    sets = [c for n in range(1, TOGETHER + 1) for c in itertools.combinations(services, n)]
    flow, path = search.flows(left)
    for k in range(len(model.site)):
        if flow[k].any():
            continue
        g, c = np.nonzero(model.near == k)
        best, chosen = 1e-6, None
        for wanted in sets:
            able = search.able[g, c][:, list(wanted)].all(axis=1)
            there = _largest(left, g[able], c[able], wanted)
            for size in range(2, len(there) + 1):
                saved = _saved(search, left, flow, path, k, there[:size], wanted)
                if saved > best:
                    best, chosen = saved, (there[:size], wanted)
        if chosen is not None:
            for group, at in chosen[0]:
                for s in chosen[1]:
                    search.part[group, :, s] = 0.0
                    search.part[group, at, s] = 1.0
            flow, path = search.flows(left)
            opened += 1
    return opened


def _largest(
    left: Floats, groups: NDArray[np.int64], at: NDArray[np.int64], wanted: tuple[int, ...]
) -> list[tuple[int, int]]:
    asked = left[groups][:, list(wanted)].sum(axis=(1, 2))
    order = np.argsort(-asked, kind="stable")[:GROUPS_LIMIT]
    return [(int(groups[i]), int(at[i])) for i in order if asked[i] > 0.0]


def _saved(
    search: Search,
    left: Floats,
    flow: Floats,
    path: NDArray[np.int64],
    k: int,
    there: list[tuple[int, int]],
    wanted: tuple[int, ...],
) -> float:
    """USD a year that it saves to serve services of these groups, each with its candidate, at k."""
    model = search.model
    gone: dict[int, Floats] = {}
    came, by = np.zeros_like(flow[k]), path[k].copy()
    saved = 0.0
    for group, at in there:
        for s in wanted:
            came[s] += left[group, s]
            by[s] = max(by[s], model.path[group, at])
            refused = float(search.part[group, -1, s])
            if refused > 0.0:
                saved += refused * search.lost_usd(s, left[group, s])
            for c in np.flatnonzero(search.part[group, :-1, s] > 0.0):
                source = int(model.near[group, c])
                away = gone.setdefault(source, np.zeros_like(came))
                away[s] += left[group, s] * search.part[group, c, s]
    for source, away in gone.items():
        rest = np.maximum(flow[source] - away, 0.0)
        still = np.where(rest.sum(axis=1) > 1e-9, path[source], -1)
        saved += search.cost_of(source, flow[source], path[source])
        saved -= search.cost_of(source, rest, still)
    return saved - search.cost_of(k, came, by)
