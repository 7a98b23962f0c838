"""Placement of second versions: beside the first, in memory that nothing else needs."""

from __future__ import annotations

import math

import numpy as np

from aigrid.core.state import NO_VERSION, Beside, BoolColumn, GridState

# So many sites, where there are as many: an answer of a site that dies can be continued.
SITES_AT_LEAST = 2


def is_beside(state: GridState) -> BoolColumn:
    """Which services are second versions: (services,)."""
    found = np.zeros(state.service_count, np.bool_)
    found[list(state.beside)] = True
    return found


def stand(state: GridState, chosen: BoolColumn, may: BoolColumn, only: int | None) -> None:
    """Let second versions stand where memory is left; in place.

    One stays where it stands. It comes to further sites, those with most memory left first, when
    all sites are looked at: to its share of those that hold the first version.

    Args:
        state: the grid.
        chosen: (rows, services) what stands there besides; gets the second versions too.
        may: (rows, services) where each may stand.
        only: row of the one site that is looked at; None for all.
    """
    for column, of in state.beside.items():
        if state.services.wanted[column]:
            _stand(state, chosen, may, only, column, of)


def _stand(
    state: GridState,
    chosen: BoolColumn,
    may: BoolColumn,
    only: int | None,
    column: int,
    of: Beside,
) -> None:
    sites, services = state.site_count, state.service_count
    rows = slice(0, sites) if only is None else slice(only, only + 1)
    need = state.services.memory_mb[:services]
    left = state.sites.memory_mb[rows] - chosen @ need
    fits = may[:, column] & (left >= need[column])
    stands = state.replicas.started[rows, column] != NO_VERSION
    chosen[:, column] = fits & stands
    if only is not None or of.share <= 0.0:
        return
    holds = chosen[:, of.column]
    most = max(math.ceil(of.share * int(holds.sum()) - 1e-9), SITES_AT_LEAST)
    missing = most - int(chosen[:, column].sum())
    if missing <= 0:
        return
    could = np.flatnonzero(fits & ~stands & holds)
    serves = state.replicas.serving[could, of.column] != NO_VERSION
    able = serves & (state.sites.share[could] > 0.0)
    best = could[np.lexsort((-left[could], ~able))]
    chosen[best[:missing], column] = True
