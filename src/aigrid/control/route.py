"""The routing table: candidates by nearness, weights by free capacity, damped against herding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.control.fill import split, waterfill
from aigrid.control.forecast import ai_demand
from aigrid.control.neighbours import EARTH_RADIUS_KM, FIBRE_MS_PER_KM, hop_ms, reach
from aigrid.control.policy import Policy
from aigrid.core.routing import ANY_ORIGIN, RoutingTable
from aigrid.core.state import NO_VERSION, UP, GridState

__all__ = [
    "FIBRE_MS_PER_KM",
    "candidates",
    "capacity",
    "changed",
    "hop_ms",
    "one_way_ms",
    "reach",
    "split",
    "table",
    "waterfill",
]


def one_way_ms(
    state: GridState, rows: NDArray[np.int32], others: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Fibre delay between sites, one way: great-circle distance times the path's detour."""
    lat = np.radians(state.sites.latitude_deg)
    lon = np.radians(state.sites.longitude_deg)
    half = (
        np.sin((lat[rows] - lat[others]) / 2) ** 2
        + np.cos(lat[rows]) * np.cos(lat[others]) * np.sin((lon[rows] - lon[others]) / 2) ** 2
    )
    distance_km: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half))
    return distance_km * FIBRE_MS_PER_KM


def candidates(state: GridState, width: int) -> NDArray[np.int32]:
    """The sites that each origin may be served by, nearest first.

    An origin's candidates are itself, its siblings under the same parent, the parent, the parent's
    siblings, and so on up to the root. The row of `*` holds the sites from the root down.

    Returns:
        (1 + sites, width) int32 rows of sites; -1 past the last.
    """
    count = state.site_count
    table = np.full((count + 1, width), -1, np.int32)
    by_kind = np.argsort(state.sites.kind[:count], kind="stable").astype(np.int32)
    table[0, : min(width, count)] = by_kind[:width]
    children: dict[int, list[int]] = {}
    place_in_ring = []
    parents = state.sites.parent[:count].tolist()
    for row, parent in enumerate(parents):
        siblings = children.setdefault(parent, [])
        place_in_ring.append(len(siblings))
        siblings.append(row)
    for row in range(count):
        found = _family(row, parents, children, place_in_ring, width)
        table[row + 1, : len(found)] = found
    return table


def _family(
    row: int,
    parents: list[int],
    children: dict[int, list[int]],
    place_in_ring: list[int],
    width: int,
) -> list[int]:
    """Itself, then level by level upwards: siblings, the parent, the parent's siblings, ..."""
    found = [row]
    here = row
    while len(found) < width:
        parent = parents[here]
        _add_ring(found, children[parent], place_in_ring[here] + 1, width)
        if parent < 0 or parent in found:
            break
        found.append(parent)
        here = parent
    return found[:width]


def _add_ring(found: list[int], siblings: list[int], start: int, width: int) -> None:
    """Add siblings in turn from `start` on, until `width` are found: a hub may have thousands."""
    for step in range(len(siblings)):
        if len(found) >= width:
            return
        sibling = siblings[(start + step) % len(siblings)]
        if sibling not in found:
            found.append(sibling)


def capacity(state: GridState) -> NDArray[np.float64]:
    """What each replica can take, (sites, services): cores for AI, less what waits there."""
    sites, services = state.site_count, state.service_count
    columns, replicas = state.sites, state.replicas
    serving = replicas.serving[:sites, :services] != NO_VERSION
    cores = columns.compute_cores[:sites] * columns.share[:sites]
    up = columns.status[:sites] == UP
    demand = ai_demand(replicas.running[:sites, :services], replicas.waiting[:sites, :services])
    free = np.where(up, cores, 0.0)[:, None] / (1.0 + demand / 8.0)
    return np.where(serving & state.services.wanted[:services], free, 0.0)


def table(
    policy: Policy, state: GridState, reach: NDArray[np.int32], previous: RoutingTable
) -> RoutingTable:
    """The routing table for now.

    Args:
        policy: dials.
        state: the grid.
        reach: (1 + sites, K) of `candidates`.
        previous: the table weighed last; its weights damp the new ones.

    Returns:
        a table in which only sites that are up, serve and have a share stand with a weight.
    """
    # Candidate -1, past the last, reads the row of zeros at the end.
    free = np.concatenate([capacity(state), np.zeros((1, state.service_count))])
    raw = np.moveaxis(free[reach], 2, 1)  # (O, S, K)
    total = raw.sum(axis=2, keepdims=True)
    fresh = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    weight = _damped(policy, fresh, _aligned(state, reach, previous, fresh.shape))
    return RoutingTable(
        origins=(ANY_ORIGIN, *state.site_names),
        services=tuple(state.service_names),
        sites=tuple(state.site_names),
        candidate=np.repeat(reach[:, None, :], state.service_count, axis=1).astype(np.int32),
        weight=weight.astype(np.float32),
    )


def _aligned(
    state: GridState, reach: NDArray[np.int32], previous: RoutingTable, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The previous weights in the new table's shape; zeros where the tables do not match."""
    same = previous.sites == tuple(state.site_names) and previous.candidate.shape == shape
    if same and previous.candidate.size and np.array_equal(previous.candidate[:, 0, :], reach):
        return previous.weight.astype(np.float64)
    return np.zeros(shape)


def _damped(
    policy: Policy, fresh: NDArray[np.float64], old: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move part of the way; who comes or goes moves all the way, and rows still sum to 1."""
    steady = (fresh > 0) & (old > 0)
    mixed = np.where(steady, policy.route_damping * old + (1 - policy.route_damping) * fresh, fresh)
    total = mixed.sum(axis=2, keepdims=True)
    damped: NDArray[np.float64] = np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0)
    return damped


def changed(policy: Policy, new: RoutingTable, old: RoutingTable) -> bool:
    """Whether a table differs enough from the one in force to be published."""
    if (new.sites, new.services) != (old.sites, old.services):
        return True
    if new.candidate.shape != old.candidate.shape or not np.array_equal(
        new.candidate, old.candidate
    ):
        return True
    if not new.weight.size:
        return False
    if np.any((new.weight > 0) != (old.weight > 0)):
        return True
    return bool(np.max(np.abs(new.weight - old.weight)) >= policy.route_change)
