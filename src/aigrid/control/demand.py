"""What the grid is asked for: rates from what gateways count, and where they are to be served."""

from __future__ import annotations

import math

import numpy as np

from aigrid.control import neighbours
from aigrid.control.policy import Policy
from aigrid.core.events import DEMAND_ROWS_LIMIT, DemandSeen
from aigrid.core.state import UP, FloatColumn, GridState

# Rates below this, in requests a second, are none.
NOTHING_PER_S = 1e-4
# Weight of the newest look in how long a request stays on a site.
RESIDENCE_RATE = 0.1


def note(policy: Policy, state: GridState, now_s: float, seen: DemandSeen) -> None:
    """Count requests; the rate is their number over `demand_memory_s`, older ones fading.

    Gateways add up, and one that falls silent fades, so that none needs to be known by name.
    """
    fade(policy, state, now_s)
    for row in seen.rows[:DEMAND_ROWS_LIMIT]:
        column = state.service_row.get(row.service)
        if column is None or row.requests <= 0:
            continue
        per_s = row.requests / policy.demand_memory_s
        origin = state.site_row.get(row.origin)
        if origin is None:
            state.services.demand_per_s[column] += per_s
        else:
            state.replicas.demand_per_s[origin, column] += per_s


def fade(policy: Policy, state: GridState, now_s: float) -> None:
    """Let rates fade up to now."""
    elapsed_s = now_s - state.demand_at_s
    if elapsed_s <= 0.0:
        return
    state.demand_at_s = now_s
    kept = math.exp(-elapsed_s / policy.demand_memory_s)
    for rates in (state.services.demand_per_s, state.replicas.demand_per_s):
        rates *= kept
        rates[rates < NOTHING_PER_S] = 0.0


def note_residence(state: GridState) -> None:
    """How long a request stays on a site, by Little's law: jobs there over jobs ended a second."""
    sites, services = state.site_count, state.service_count
    up = (state.sites.status[:sites] == UP)[:, None]
    rate = np.where(up, state.replicas.requests_per_s[:sites, :services], 0.0).sum(axis=0)
    jobs = np.where(up, state.replicas.running[:sites, :services], 0.0).sum(axis=0)
    for column in np.flatnonzero((rate > 0.0) & (jobs > 0.0)).tolist():
        fresh_s, known_s = jobs[column] / rate[column], state.services.residence_s[column]
        weight = RESIDENCE_RATE if known_s > 0.0 else 1.0
        state.services.residence_s[column] += weight * (fresh_s - known_s)


def total(state: GridState) -> FloatColumn:
    """Requests a second for each service, from everywhere: (services,)."""
    sites, services = state.site_count, state.service_count
    placed = state.replicas.demand_per_s[:sites, :services].sum(axis=0)
    return np.asarray(placed + state.services.demand_per_s[:services])


def at_or_below(state: GridState) -> FloatColumn:
    """Requests a second from each site's place and all those below it: (sites, services)."""
    sites, services = state.site_count, state.service_count
    own = state.replicas.demand_per_s[:sites, :services]
    return neighbours.at_or_below(state.sites.parent[:sites], own)
