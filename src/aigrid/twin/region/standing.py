"""What stands in a region before the first request: servers, gateways, caches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.region import columns
from aigrid.twin.region.arrivals import Played
from aigrid.twin.region.columns import NO_BLOCK, NONE, WAYS, Floats, Ints, Records, World

# Candidates that a request's order has room for.
CANDIDATES_LIMIT = 15
# Requests in flight that there is room for at first.
ROOM = 1024
# A request may come from the session of one of the last so many of its origin.
SESSIONS = 8


def world_of(ground: Ground, played: Played | None) -> World:
    """A region where nothing was decided yet and nobody asks.

    Raises:
        ConfigurationError: more candidates than an order holds.
    """
    width, services = ground.reach.shape[1], len(ground.country.services)
    if width > CANDIDATES_LIMIT:
        raise ConfigurationError(
            f"{width} candidates for each request",
            next_step=f"set the dial `candidates` to {CANDIDATES_LIMIT} or less",
        )
    sites = len(ground.network)
    groups = _groups(ground)
    site = np.repeat(np.arange(sites, dtype=np.int32), groups)
    cells, ends = _cells(ground, ground.type_of[site])
    kept, kept_from = _caches(ground, groups, played)
    counts = np.zeros(columns.COUNTS, np.int64)
    counts[columns.FREE] = ROOM
    stands = np.zeros((sites, services), columns.STAND)
    stands["ready_s"], stands["allowed"] = np.inf, ground.allowed.T
    return World(
        requests=np.zeros(ROOM, columns.REQUEST),
        free=columns.unused(ROOM),
        moving=np.zeros(ROOM, columns.TRAVEL),
        servers=columns.servers_of(site, (ground.compute / groups)[site]),
        heap=np.arange(len(site), dtype=np.int32),
        cells=cells,
        ends=ends,
        first=np.concatenate(([0], np.cumsum(groups))).astype(np.int32),
        routes=np.zeros((sites, services, width), columns.ROUTE),
        ways=_ways(ground),
        stands=stands,
        share=np.zeros(sites),
        prefixes=_prefixes(ground),
        sessions=np.full((sites, services, SESSIONS), NONE, np.int32),
        kept=kept,
        kept_from=kept_from,
        block_tokens=np.array([1.0 if played is None else played.block_tokens]),
        counts=counts,
    )


def sessions_before(ground: Ground, weight: NDArray[np.float32]) -> Ints:
    """(N, M) sites that served the last requests of each origin, had they been routed like this.

    Args:
        ground: of the region.
        weight: (N, K) of a service's candidates; no weight at all: nobody has served.
    """
    reached = np.cumsum(weight, axis=1, dtype=np.float64)
    total = reached[:, -1:]
    at = (np.arange(SESSIONS) + 0.5) / SESSIONS * total
    place = (reached[:, None, :] <= at[:, :, None]).sum(axis=2)
    place = np.minimum(place, weight.shape[1] - 1)
    found: Ints = np.where(total > 0.0, np.take_along_axis(ground.reach, place, axis=1), NONE)
    return found.astype(np.int32)


def _groups(ground: Ground) -> NDArray[np.int64]:
    """(N,) servers of each site: as few of up to `TOGETHER` devices as hold them all."""
    return np.maximum(np.ceil(ground.compute / TOGETHER - 1e-9), 1.0).astype(np.int64)


def _cells(ground: Ground, kind: NDArray[np.int16]) -> tuple[Records, Records]:
    """Cells of servers of these site types."""
    shape = (len(ground.types), len(ground.country.services))
    costs, places = np.zeros((4, *shape)), np.zeros(shape, np.int32)
    for t, one in enumerate(ground.types):
        for s, cost in enumerate(one.costs):
            if cost is not None:
                prefill = (cost.prefill_fixed_s, cost.prefill_s_per_token)
                costs[:, t, s] = (*prefill, cost.step_fixed_s, cost.step_sequence_s)
                places[t, s] = cost.places
    limit: Ints = (ground.country.queue_limit * places).astype(np.int32)
    return columns.cells_of(costs[:, kind], places[kind], limit[kind])


def _ways(ground: Ground) -> Records:
    """(N, K) candidates; `upward` where they stand above their origin."""
    ways = np.zeros(ground.reach.shape, columns.WAY)
    ways["site"], ways["hop_s"] = ground.reach, ground.hop_ms / 1e3
    higher = ground.above.copy()
    for _ in range(len(ground.levels)):
        ways["upward"] |= (ground.reach == higher[:, None]) & (higher >= 0)[:, None]
        higher = np.where(higher >= 0, ground.above[higher], NONE)
    return ways


def _prefixes(ground: Ground) -> Records:
    found = np.zeros(len(ground.country.services), columns.PREFIX)
    for s, service in enumerate(ground.country.services):
        part = service.shared_prefix_tokens / max(service.prompt_tokens.mean, 1e-9)
        found[s] = (min(part, 1.0), service.residency)
    return found


def _caches(
    ground: Ground, groups: NDArray[np.int64], played: Played | None
) -> tuple[Records, NDArray[np.int64]]:
    """Blocks of prompts that each site can keep: as many as its batches' memory holds."""
    sets = np.zeros(len(groups), np.int64)
    if played is not None and len(played.blocks):
        room: Floats = np.zeros(len(ground.types))
        service = ground.country.services[played.service]
        each_gb = service.kv_bytes_per_token * played.block_tokens / 1e9
        for t, one in enumerate(ground.types):
            cost = one.costs[played.service]
            if cost is not None and each_gb > 0.0:
                room[t] = max(cost.memory_gb - service.weight_bytes / 1e9, 0.0) / each_gb
        sets = (room[ground.type_of] * groups).astype(np.int64) // WAYS
    kept_from = np.concatenate(([0], np.cumsum(sets))).astype(np.int64)
    kept = np.zeros((int(kept_from[-1]), WAYS), columns.BLOCK)
    kept["block"] = NO_BLOCK
    return kept, kept_from
