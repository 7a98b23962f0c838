"""What stands in a region before the first request: servers, gateways, caches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.region import columns
from aigrid.twin.region.arrivals import Played
from aigrid.twin.region.columns import NO_BLOCK, WAYS, Agenda, Cache, Gateways, Requests, Servers

# Candidates that a request's order has room for.
CANDIDATES_LIMIT = 15
# Requests in flight that there is room for at first.
ROOM = 1024
# A request may come from the session of one of the last so many of its origin.
SESSIONS = 8


def servers_at(ground: Ground) -> Servers:
    """Each site's devices: one server, or as few of up to `TOGETHER` devices as hold them all."""
    groups = np.maximum(np.ceil(ground.compute / TOGETHER - 1e-9), 1.0).astype(np.int64)
    site = np.repeat(np.arange(len(groups), dtype=np.int32), groups)
    kind = ground.type_of[site]
    services = len(ground.country.services)
    costs = np.zeros((4, len(ground.types), services))
    places = np.zeros((len(ground.types), services), np.int32)
    for t, one in enumerate(ground.types):
        for s, cost in enumerate(one.costs):
            if cost is not None:
                costs[:, t, s] = (
                    cost.prefill_fixed_s,
                    cost.prefill_s_per_token,
                    cost.step_fixed_s,
                    cost.step_sequence_s,
                )
                places[t, s] = cost.places
    limit = (ground.country.queue_limit * places).astype(np.int32)
    each = (ground.compute / groups)[site]
    return columns.servers_of(site, each, costs[:, kind], places[kind], limit[kind])


def gateways_of(ground: Ground) -> Gateways:
    """The gateway of each site, before it knows any route.

    Raises:
        ConfigurationError: more candidates than an order holds.
    """
    count, width = ground.reach.shape
    services = ground.country.services
    if width > CANDIDATES_LIMIT:
        raise ConfigurationError(
            f"{width} candidates for each request",
            next_step=f"set the dial `candidates` to {CANDIDATES_LIMIT} or less",
        )
    prefix = [min(s.shared_prefix_tokens / max(s.prompt_tokens.mean, 1e-9), 1.0) for s in services]
    return Gateways(
        reach=np.ascontiguousarray(ground.reach, np.int32),
        weight=np.zeros((len(services), count, width), np.float32),
        hop_s=ground.hop_ms.astype(np.float64) / 1e3,
        in_flight=np.zeros((count, len(services), width), np.int32),
        ready_s=np.full((len(services), count), np.inf),
        share=np.zeros(count),
        allowed=ground.allowed,
        upward=_upward(ground),
        offered=np.zeros((count, len(services)), np.int64),
        spared=np.array(prefix),
        residency=np.array([s.residency for s in services]),
        session=np.full((count, len(services), SESSIONS), columns.NONE, np.int32),
        session_at=np.zeros((count, len(services)), np.int8),
    )


def _upward(ground: Ground) -> NDArray[np.bool_]:
    """(N, K) candidates that stand above their origin."""
    found = np.zeros(ground.reach.shape, np.bool_)
    higher = ground.above.copy()
    for _ in range(len(ground.levels)):
        found |= (ground.reach == higher[:, None]) & (higher >= 0)[:, None]
        higher = np.where(higher >= 0, ground.above[higher], -1)
    return found


def cache_of(ground: Ground, played: Played | None) -> Cache:
    """Blocks of prompts that each site can keep: as many as its batches' memory holds."""
    count = len(ground.network)
    sets = np.zeros(count, np.int64)
    if played is not None and len(played.blocks):
        service = ground.country.services[played.service]
        each_gb = service.kv_bytes_per_token * played.block_tokens / 1e9
        room = np.zeros(len(ground.types))
        for t, one in enumerate(ground.types):
            cost = one.costs[played.service]
            if cost is not None and each_gb > 0.0:
                room[t] = max(cost.memory_gb - service.weight_bytes / 1e9, 0.0) / each_gb
        groups = np.maximum(np.ceil(ground.compute / TOGETHER - 1e-9), 1.0)
        sets = (room[ground.type_of] * groups).astype(np.int64) // WAYS
    first = np.concatenate(([0], np.cumsum(sets))).astype(np.int64)
    shape = (int(first[-1]), WAYS)
    tokens = np.array([1.0 if played is None else played.block_tokens])
    return Cache(first, np.full(shape, NO_BLOCK), np.zeros(shape, np.int64), tokens)


def agenda_room(servers: int) -> tuple[Requests, Agenda]:
    """Room for requests in flight, and nothing planned."""
    return columns.requests_of(ROOM), columns.agenda_of(servers, ROOM)
