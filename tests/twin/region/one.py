"""One site with one service and one gateway, to be served request by request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.region import columns
from aigrid.twin.region.columns import Arrivals, Cache, Ended, Gateways
from aigrid.twin.region.events import advance

Floats = NDArray[np.float64]
ENDLESS = 1e12


def served(
    came_s: Floats,
    prompt: Floats,
    generated: Floats,
    cost: tuple[float, float, float, float],
    places: int,
    limit: int = 1_000_000,
) -> Ended:
    """How requests fare at a site of one device, next to its gateway; cut to what ended.

    Args:
        came_s: (A,) in order.
        prompt: (A,) tokens.
        generated: (A,) tokens.
        cost: prompt_fixed, prompt_each, step_fixed, step_each in seconds.
        places: of the site.
        limit: of its line.
    """
    total = len(came_s)
    none = np.zeros(total, np.int32)
    arrivals = Arrivals(
        came_s,
        none,
        none.astype(np.int8),
        prompt,
        generated,
        np.ones((total, 2)),
        np.zeros((total, 2), np.int64),
        np.zeros(0, np.int64),
    )
    servers = columns.servers_of(
        np.zeros(1, np.int32),
        np.ones(1),
        np.array(cost).reshape(4, 1, 1),
        np.array([[places]], np.int32),
        np.array([[limit]], np.int32),
    )
    ended, counts = columns.ended_of(total), np.zeros(columns.COUNTS, np.int64)
    counts[columns.FREE] = total
    advance(
        0.0,
        ENDLESS,
        np.ones(1),
        arrivals,
        gateway(),
        servers,
        columns.agenda_of(1, total),
        columns.requests_of(total),
        Cache(np.zeros(2, np.int64), *np.zeros((2, 0, 8), np.int64), np.ones(1)),
        ended,
        counts,
    )
    assert counts[columns.BROKEN] == 0
    done = counts[columns.ENDED]
    return Ended._make(column[:done] for column in ended)


def gateway() -> Gateways:
    """One candidate, no way to it."""
    return Gateways(
        reach=np.zeros((1, 1), np.int32),
        weight=np.ones((1, 1, 1), np.float32),
        hop_s=np.zeros((1, 1)),
        in_flight=np.zeros((1, 1, 1), np.int32),
        ready_s=np.zeros((1, 1)),
        share=np.ones(1),
        allowed=np.ones((1, 1), np.bool_),
        upward=np.zeros((1, 1), np.bool_),
        offered=np.zeros((1, 1), np.int64),
        spared=np.zeros(1),
        residency=np.zeros(1),
        session=np.full((1, 1, 1), -1, np.int32),
        session_at=np.zeros((1, 1), np.int8),
    )
