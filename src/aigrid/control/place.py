"""Placement: which services stand on which sites."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.control.policy import Policy
from aigrid.core.state import UP, BoolColumn, FloatColumn, GridState


def choose(
    policy: Policy,
    compute: FloatColumn,
    memory_gb: FloatColumn,
    wanted: FloatColumn,
    work_s: FloatColumn,
    memory_need_gb: FloatColumn,
    load_s: FloatColumn,
    value: FloatColumn,
    allowed: BoolColumn,
    resident: BoolColumn,
) -> BoolColumn:
    """The services each site shall hold: greedy by what a GB of its memory would earn.

    A service earns its value times the requests that it could serve there, less what its loading
    costs over `place_horizon_s`; one that stands already counts `place_keep` more, so that a calm
    grid is not shuffled: the same wants again change nothing. (Greedy by density is within one
    service a site of the best for the knapsack; Dantzig, 'Discrete-variable extremum problems',
    1957.) Services that earn nothing stand where memory is left, those there first.

    Args:
        policy: dials.
        compute: (N,) devices (or cores) for AI.
        memory_gb: (N,) memory for AI; any unit, the one of `memory_need_gb`.
        wanted: (N, S) requests a second expected at or below the site.
        work_s: (N, S) seconds that one device spends on a request.
        memory_need_gb: (N, S) of one replica.
        load_s: (N, S) until a replica that is not resident serves.
        value: (S,) USD a request.
        allowed: (N, S) whether it may stand there: residency, sovereignty, kind of site.
        resident: (N, S) whether it stands there now.

    Returns:
        (N, S) bool; never more than the memory of a site.
    """
    chosen: BoolColumn = _choose(
        np.asarray(compute, np.float64),
        np.asarray(memory_gb, np.float64),
        np.asarray(wanted, np.float64),
        np.asarray(work_s, np.float64),
        np.asarray(memory_need_gb, np.float64),
        np.asarray(load_s, np.float64),
        np.asarray(value, np.float64),
        np.asarray(allowed, np.bool_),
        np.asarray(resident, np.bool_),
        policy.place_keep,
        policy.place_horizon_s,
    )
    return chosen


@njit(cache=True, nogil=True)
def _choose(  # type: ignore[no-untyped-def]
    compute, memory, wanted, work_s, need, load_s, value, allowed, resident, keep, horizon_s
):
    sites, services = wanted.shape
    chosen = np.zeros((sites, services), np.bool_)
    worth = np.zeros(services)
    for row in range(sites):
        for service in range(services):
            served = min(wanted[row, service], compute[row] / max(work_s[row, service], 1e-9))
            earned = served * value[service] / max(need[row, service], 1e-9)
            if resident[row, service]:
                worth[service] = earned * (1.0 + keep)
            else:
                worth[service] = earned * max(0.0, 1.0 - load_s[row, service] / horizon_s)
        free = memory[row]
        for _ in range(services):
            best = -1
            for service in range(services):
                fits = need[row, service] <= free and not chosen[row, service]
                if not (allowed[row, service] and fits):
                    continue
                ahead = best < 0 or worth[service] > worth[best]
                stays = best >= 0 and resident[row, service] and not resident[row, best]
                if ahead or (stays and worth[service] == worth[best]):
                    best = service
            if best < 0:
                break
            chosen[row, best] = True
            free -= need[row, best]
    return chosen


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
