"""The routing table, made of the kernels in `neighbours` and `fill` from the grid's state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.control import demand, pour
from aigrid.control.fill import split, waterfill
from aigrid.control.forecast import ai_demand
from aigrid.control.neighbours import FIBRE_MS_PER_KM, between_km, hop_ms, reach
from aigrid.control.place import JOBS_PER_CORE
from aigrid.control.policy import Policy
from aigrid.core.routing import ANY_ORIGIN, RoutingTable
from aigrid.core.state import NO_VERSION, UP, FloatColumn, GridState

# What is left of a site that is full already: it may be asked when nobody has anything to spare.
LEAST_PART = 1e-3

__all__ = [
    "FIBRE_MS_PER_KM",
    "Ways",
    "candidates",
    "capacity",
    "changed",
    "hop_ms",
    "one_way_ms",
    "paths_ms",
    "reach",
    "spare_per_s",
    "split",
    "table",
    "wait_ms",
    "waterfill",
    "ways",
]


def one_way_ms(
    state: GridState, rows: NDArray[np.int32], others: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Fibre delay between sites, one way: great-circle distance times the path's detour."""
    lat = np.radians(state.sites.latitude_deg)
    lon = np.radians(state.sites.longitude_deg)
    distance_km: NDArray[np.float64] = between_km(lat, lon, rows, others)
    return distance_km * FIBRE_MS_PER_KM


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """Who may serve whom; it changes with sites and with the rules of services only.

    Attributes:
        reach: for each service, (1 + sites, K) of `candidates`.
        paths: for each service, (1 + sites, K) of `paths_ms`.
        candidate: (1 + sites, services, K), the same as the routing table has it.
        work: to pour in, for `*` and for all sites; what it holds does not matter.
    """

    reach: tuple[NDArray[np.int32], ...]
    paths: tuple[NDArray[np.float32], ...]
    candidate: NDArray[np.int32]
    work: tuple[pour.Work, pour.Work]


def ways(state: GridState, width: int) -> Ways:
    """The ways of all services. One that may not run everywhere has candidates where it may."""
    anywhere = candidates(state, width)
    found: dict[tuple[int, ...], tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
    found[()] = anywhere, paths_ms(state, anywhere)
    for regions in state.services.regions:
        if regions not in found:
            kept = _within(
                state, anywhere, np.isin(state.sites.region[: state.site_count], regions)
            )
            found[regions] = (kept, paths_ms(state, kept))
    each = [found[regions] for regions in state.services.regions]
    count, shape = state.site_count, (len(anywhere), 0, width)
    return Ways(
        reach=tuple(reach for reach, _ in each),
        paths=tuple(paths for _, paths in each),
        candidate=np.stack([r for r, _ in each], axis=1) if each else np.zeros(shape, np.int32),
        work=(pour.work_of(1, count, width), pour.work_of(count, count, width)),
    )


def candidates(state: GridState, width: int) -> NDArray[np.int32]:
    """The sites that each origin may be served by, see `reach`.

    Where `reach` names fewer than `width`, those below the origin follow, then any others from the
    root down: a root that is full, or gone, leaves its requests to whoever can serve.

    Returns:
        (1 + sites, width) int32 rows of sites, -1 past the last; the row of `*` comes first and
        holds the sites from the root down.
    """
    count = state.site_count
    table = np.full((count + 1, width), -1, np.int32)
    by_kind = np.argsort(state.sites.kind[:count], kind="stable").astype(np.int32)
    table[0, : min(width, count)] = by_kind[:width]
    table[1:] = reach(state.sites.parent[:count], state.sites.kind[:count], width)
    for row in np.flatnonzero(table[1:, -1] < 0).tolist():
        below = np.flatnonzero(state.sites.parent[:count] == row)
        _fill(table[1 + row], (*below[:width].tolist(), *by_kind[: 2 * width].tolist()))
    return table


def _fill(line: NDArray[np.int32], more: Iterable[int]) -> None:
    """Put those of `more` that are not there into what is free of a line, first come first."""
    used = int((line >= 0).sum())
    for site in more:
        if used == len(line):
            return
        if site not in line[:used]:
            line[used] = site
            used += 1


def _within(
    state: GridState, reach: NDArray[np.int32], allowed: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The candidates that are allowed; in the place of others, allowed ones from the root down."""
    if not len(allowed):
        return reach
    width = reach.shape[1]
    rows = np.flatnonzero(allowed)
    order = rows[np.argsort(state.sites.kind[rows], kind="stable")][:width].astype(np.int32)
    kept = np.where((reach >= 0) & allowed[reach], reach, np.int32(-1))
    more = np.broadcast_to(order, (len(reach), len(order))).copy()
    for at, site in enumerate(order):
        more[(kept == site).any(axis=1), at] = -1
    wide = np.concatenate([kept, more], axis=1)
    first = np.argsort(wide < 0, axis=1, kind="stable")[:, :width]
    return np.ascontiguousarray(np.take_along_axis(wide, first, axis=1))


def paths_ms(state: GridState, table: NDArray[np.int32]) -> NDArray[np.float32]:
    """The way from each origin to each of its `candidates`, one way; 0 from `*`."""
    count, columns = state.site_count, state.sites
    lat, lon = columns.latitude_deg[:count], columns.longitude_deg[:count]
    paths = np.zeros(table.shape, np.float32)
    paths[1:] = hop_ms(table[1:], lat, lon, columns.parent[:count])
    return paths


def capacity(state: GridState) -> NDArray[np.float64]:
    """What each replica can take, (sites, services): cores for AI, less what waits there."""
    sites, services = state.site_count, state.service_count
    columns, replicas = state.sites, state.replicas
    serving = replicas.serving[:sites, :services] != NO_VERSION
    cores = columns.compute_cores[:sites] * columns.share[:sites]
    up = columns.status[:sites] == UP
    jobs = ai_demand(replicas.running[:sites, :services], replicas.waiting[:sites, :services])
    free = np.where(up, cores, 0.0)[:, None] / (1.0 + jobs / JOBS_PER_CORE)
    return np.where(serving & state.services.wanted[:services], free, 0.0)


def spare_per_s(policy: Policy, state: GridState) -> FloatColumn:
    """Requests a second that each replica can take, (sites, services).

    Where a service's demand or its requests' stay is not known, `capacity` in its stead: then only
    proportions matter.
    """
    sites, services = state.site_count, state.service_count
    spare = capacity(state)
    stay_s, asked = state.services.residence_s[:services], demand.total(state)
    known = (stay_s > 0.0) & (asked > 0.0)
    if not known.any():
        return spare
    columns, replicas = state.sites, state.replicas
    jobs = columns.compute_cores[:sites] * columns.share[:sites] * JOBS_PER_CORE
    elsewhere = state.services.demand_per_s[:services] / max(1, sites)
    poured = split(
        policy,
        jobs,
        demand.at_or_below(state) + elsewhere,
        np.broadcast_to(np.where(stay_s > 0.0, stay_s, 1.0), spare.shape),
        spare > 0.0,
    )
    behind = 1.0 + replicas.waiting[:sites, :services] / JOBS_PER_CORE
    # Whoever serves can be asked: a site that is given out to others may still be the only one.
    least = LEAST_PART * jobs[:, None] / np.where(stay_s > 0.0, stay_s, 1.0)
    return np.where(known & (spare > 0.0), np.maximum(poured, least) / behind, spare)


def wait_ms(state: GridState) -> FloatColumn:
    """Time that a request waits for a place, as far as it is known: (sites, services)."""
    sites, services = state.site_count, state.service_count
    jobs = state.sites.compute_cores[:sites] * state.sites.share[:sites] * JOBS_PER_CORE
    ended_per_s = np.maximum(jobs, 1e-3)[:, None] / np.maximum(
        state.services.residence_s[:services], 1e-9
    )
    return 1000.0 * state.replicas.waiting[:sites, :services] / ended_per_s


def table(policy: Policy, state: GridState, ways: Ways, previous: RoutingTable) -> RoutingTable:
    """The routing table for now.

    Args:
        policy: dials.
        state: the grid.
        ways: who may serve whom.
        previous: the table weighed last; its weights damp the new ones.

    Returns:
        a table in which only sites that are up, serve and have a share stand with a weight.
    """
    candidate = ways.candidate
    origins, services, width = candidate.shape
    # A service's weights lie together: they are read and written one service at a time.
    weight = np.zeros((services, origins, width), np.float32).transpose(1, 0, 2)
    old = _aligned(state, candidate, previous)
    spare = np.ascontiguousarray(spare_per_s(policy, state).T)
    wait = np.ascontiguousarray(wait_ms(state).T)
    for s in range(services):
        before = None if old is None else old[:, s]
        _one_service(policy, state, ways, s, spare[s], wait[s], before, weight[:, s])
    return RoutingTable(
        origins=(ANY_ORIGIN, *state.site_names),
        services=tuple(state.service_names),
        sites=tuple(state.site_names),
        candidate=candidate,
        weight=weight,
    )


def _one_service(
    policy: Policy,
    state: GridState,
    ways: Ways,
    column: int,
    spare: FloatColumn,
    wait: FloatColumn,
    old: NDArray[np.float32] | None,
    weight: NDArray[np.float32],
) -> None:
    """Fill the weights of one service, (1 + sites, K).

    Requests from no known place spread in proportion and come first: they cannot be brought
    nearer. What they leave is poured out to the rest.
    """
    reach, hop = ways.reach[column], ways.paths[column]
    slo_ms = max(float(state.services.ttft_ms[column]), 1.0)
    any_per_s = state.services.demand_per_s[column]
    from_sites = state.replicas.demand_per_s[: state.site_count, column]
    parts = ((slice(0, 1), np.zeros(1)), (slice(1, None), from_sites))
    for (rows, asked), work in zip(parts, ways.work, strict=True):
        before = None if old is None else old[rows]
        waterfill(
            policy, reach[rows], asked, spare, wait, hop[rows], slo_ms, before, weight[rows], work
        )
        if rows.start == 0 and any_per_s > 0.0:
            named = reach[0] >= 0
            taken = np.zeros_like(spare)
            taken[reach[0][named]] = any_per_s * weight[0][named]
            spare = np.maximum(spare - taken, LEAST_PART * spare)


def _aligned(
    state: GridState, candidate: NDArray[np.int32], previous: RoutingTable
) -> NDArray[np.float32] | None:
    """The previous weights in the new table's shape; None where the tables do not match."""
    if previous.sites != tuple(state.site_names) or not candidate.size:
        return None
    return previous.weight if _same(previous.candidate, candidate) else None


def _same(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    return one is other or np.array_equal(one, other)


def changed(policy: Policy, new: RoutingTable, old: RoutingTable) -> bool:
    """Whether a table differs enough from the one in force to be published."""
    if (new.sites, new.services, new.tracks) != (old.sites, old.services, old.tracks):
        return True
    if not _same(new.candidate, old.candidate):
        return True
    if not new.weight.size:
        return False
    if np.any((new.weight > 0) != (old.weight > 0)):
        return True
    return bool(np.max(np.abs(new.weight - old.weight)) >= policy.route_change)
