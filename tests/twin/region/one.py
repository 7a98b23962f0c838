"""One site and one gateway, with one service or several, to be served request by request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.region import columns
from aigrid.twin.region.columns import Records, World
from aigrid.twin.region.events import advance

Floats = NDArray[np.float64]
ENDLESS = 1e12


def world(cost: tuple[float, float, float, float], places: int, limit: int, rows: int) -> World:
    """A site of one device next to its gateway, with room for so many requests.

    Args:
        cost: prompt_fixed, prompt_each, step_fixed, step_each in seconds.
        places: of the site.
        limit: of its line.
        rows: of requests.
    """
    return several(np.array([cost]), [places], [limit], rows)


def several(costs: Floats, places: list[int], limit: list[int], rows: int) -> World:
    """The same with S services: (S, 4) costs, S places and limits of lines."""
    services = len(costs)
    held, lines = (np.array([values], np.int32) for values in (places, limit))
    cells, ends = columns.cells_of(costs.T.reshape(4, 1, services), held, lines)
    routes, ways = np.zeros((1, services, 1), columns.ROUTE), np.zeros((1, 1), columns.WAY)
    stands, counts = np.zeros((1, services), columns.STAND), np.zeros(columns.COUNTS, np.int64)
    routes["weight"], stands["allowed"], counts[columns.FREE] = 1.0, 1, rows
    return World(
        requests=np.zeros(rows, columns.REQUEST),
        free=columns.unused(rows),
        moving=np.zeros(rows, columns.TRAVEL),
        servers=columns.servers_of(np.zeros(1, np.int32), np.ones(1)),
        heap=np.zeros(1, np.int32),
        cells=cells,
        ends=ends,
        first=np.array([0, 1], np.int32),
        routes=routes,
        ways=ways,
        stands=stands,
        share=np.ones(1),
        prefixes=np.zeros(services, columns.PREFIX),
        sessions=np.full((1, services, 1), columns.NONE, np.int32),
        kept=np.zeros((0, columns.WAYS), columns.BLOCK),
        kept_from=np.zeros(2, np.int64),
        block_tokens=np.ones(1),
        counts=counts,
    )


def arrivals_of(came_s: Floats, prompt: Floats, generated: Floats) -> Records:
    """Requests in order of time: (A,) each."""
    arrivals = np.zeros(len(came_s), columns.ARRIVAL)
    arrivals["came_s"], arrivals["prompt"], arrivals["generated"] = came_s, prompt, generated
    arrivals["chance"] = arrivals["luck"] = 1.0
    return arrivals


def served(
    came_s: Floats,
    prompt: Floats,
    generated: Floats,
    cost: tuple[float, float, float, float],
    places: int,
    limit: int = 1_000_000,
) -> Records:
    """How requests fare, until the last has ended; cost, places and limit as of `world`."""
    total = len(came_s)
    city, ended = world(cost, places, limit, total), np.zeros(total, columns.GONE_BY)
    arrivals = arrivals_of(came_s, prompt, generated)
    advance(city, 0.0, ENDLESS, np.ones(1), arrivals, np.zeros(0, np.int64), ended)
    assert city.counts[columns.BROKEN] == 0
    return ended[: city.counts[columns.ENDED]]
