"""Placement: which services stand on which sites."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.control.beside import is_beside, stand
from aigrid.control.policy import Policy
from aigrid.core.state import CORDONED, FREE, NO_VERSION, UP, BoolColumn, FloatColumn, GridState

# Jobs that a core takes on at once without any of them waiting, where a site does not say.
JOBS_PER_CORE = 8.0


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
        np.ascontiguousarray(compute, np.float64),
        np.ascontiguousarray(memory_gb, np.float64),
        np.ascontiguousarray(wanted, np.float64),
        np.ascontiguousarray(work_s, np.float64),
        np.ascontiguousarray(memory_need_gb, np.float64),
        np.ascontiguousarray(load_s, np.float64),
        np.ascontiguousarray(value, np.float64),
        np.ascontiguousarray(allowed, np.bool_),
        np.ascontiguousarray(resident, np.bool_),
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


def wanted(state: GridState, only: int | None = None, policy: Policy | None = None) -> BoolColumn:
    """What `choose` says of the grid's state: a replica wherever it is wanted, allowed and fits.

    Each service that is wanted stands somewhere, as far as there is memory for one of each. Where
    nothing is known of demand and memory does not suffice for all, what stands stays, and then
    services deployed earlier come first.

    Args:
        state: the grid.
        only: row of the one site to decide about; None for all.
        policy: dials.

    Returns:
        (sites, services) bool, over the rows in use; one row where `only` is given.
    """
    rows = slice(0, state.site_count) if only is None else slice(only, only + 1)
    columns = slice(0, state.service_count)
    services, replicas = state.services, state.replicas
    shape = replicas.started[rows, columns].shape
    known_s = np.where(services.residence_s[columns] > 0.0, services.residence_s[columns], 1.0)
    may_stand = services.wanted[columns] & allowed(state, rows) & _open(state, rows)
    may = may_stand & ~is_beside(state)
    chosen = choose(
        policy or Policy(),
        state.sites.compute_cores[rows],
        state.sites.memory_mb[rows],
        replicas.expected_per_s[rows, columns],
        np.broadcast_to(known_s / JOBS_PER_CORE, shape),
        np.broadcast_to(services.memory_mb[columns], shape),
        np.zeros(shape),
        np.ones(shape[1]),
        may,
        replicas.started[rows, columns] != NO_VERSION,
    )
    if (may & ~chosen).any():
        _leave_nobody_out(state, chosen, rows)
    stand(state, chosen, may_stand, only)
    return chosen


def _open(state: GridState, rows: slice) -> BoolColumn:
    """Where a replica may stand for all that its site and its operator say: (rows, services)."""
    sites, stands = state.sites, state.replicas.started[rows, : state.service_count] != NO_VERSION
    up = (sites.status[rows] == UP)[:, None]
    hold = sites.hold[rows][:, None]
    may: BoolColumn = up & ((hold == FREE) | ((hold == CORDONED) & stands))
    return may


def _leave_nobody_out(state: GridState, chosen: BoolColumn, rows: slice) -> None:
    """Let a service that no site would choose stand on one, in the place of others; in place.

    It stands where it stood, else where most memory is left beside services that stand nowhere
    else: those are never put out, so that two do not take turns. `chosen` are the rows to decide
    about; the others stay as they were decided.
    """
    sites, services = state.site_count, state.service_count
    up = state.sites.status[:sites] == UP
    whole = state.replicas.wanted[:sites, :services] & up[:, None] & ~is_beside(state)
    whole[rows] = chosen
    need = state.services.memory_mb[:services]
    every = slice(0, sites)
    may = state.services.wanted[:services] & allowed(state, every) & _open(state, every)
    may &= ~is_beside(state)
    for service in np.flatnonzero(may.any(axis=0) & ~whole.any(axis=0)).tolist():
        alone = whole & (whole.sum(axis=0) == 1)
        left = state.sites.memory_mb[:sites] - alone @ need
        could = np.flatnonzero(may[:, service] & (left >= need[service]))
        if not len(could):
            continue
        stood = state.replicas.wanted[could, service]
        row = int(could[np.lexsort((-left[could], ~stood))[0]])
        keep = alone[row].copy()
        keep[service] = True
        free = float(state.sites.memory_mb[row] - keep @ need)
        for other in np.flatnonzero(whole[row] & ~keep).tolist():
            if need[other] <= free:
                keep[other] = True
                free -= float(need[other])
        whole[row] = keep
    chosen[:] = whole[rows]


def allowed(state: GridState, rows: slice) -> BoolColumn:
    """Where the residency rules of services let them run: (rows, services) bool."""
    may = np.ones((len(state.sites.region[rows]), state.service_count), np.bool_)
    for column, regions in enumerate(state.services.regions):
        if regions:
            may[:, column] = False
            for region in regions:
                may[:, column] |= state.sites.region[rows] == region
    return may
