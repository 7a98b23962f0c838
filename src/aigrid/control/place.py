"""Placement: which services stand on which sites."""

from __future__ import annotations

import numpy as np

from aigrid.core.state import UP, GridState


def wanted(state: GridState) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """A replica wherever it is wanted, allowed and fits.

    What stands stays: only where memory does not suffice for all does the order decide, services
    deployed earlier first, so that a calm grid is not shuffled.

    Returns:
        (sites, services) bool, over the rows in use.
    """
    sites, services = state.site_count, state.service_count
    chosen = np.zeros((sites, services), np.bool_)
    free_mb = state.sites.memory_mb[:sites].copy()
    present = state.sites.status[:sites] == UP
    for column in range(services):
        if not state.services.wanted[column]:
            continue
        need_mb = state.services.memory_mb[column]
        chosen[:, column] = present & allowed(state, column) & (free_mb >= need_mb)
        free_mb -= np.where(chosen[:, column], need_mb, 0.0)
    return chosen


def allowed(state: GridState, column: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Sites where the residency rule of a service lets it run: (sites,) bool."""
    regions = state.services.regions[column]
    if not regions:
        return np.ones(state.site_count, np.bool_)
    return np.isin(state.sites.region[: state.site_count], regions)
