"""The region's state: tables of records, which the engine changes in place.

An event touches many figures of one request and one server, so that those lie together: a table is
a numpy array of records. A site's computers are one server, or several where the site is large. A
request has a row from its arrival at a gateway until its end; rows are used again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Records = NDArray[np.void]

NONE = -1
NO_BLOCK = np.iinfo(np.int64).min
WAYS = 8
# Rows of `counts`: events, free rows of requests, requests on their way, tickets given, rows of
# `ended` written, refusals of single sites, requests that a site took, requests that came and that
# ended since the beginning, streams that went on elsewhere, the rule that was broken and where.
EVENTS, FREE, MOVING, TICKET, ENDED, HOPS, STARTED, CAME, GONE, MOVED, BROKEN, BROKEN_AT = range(12)
COUNTS = 12
# Rules that the engine checks; values of `counts[BROKEN]`.
CONSERVED, PLACES, LINE, COMPUTE, REGION = range(1, 6)


def _record(**kinds: str) -> np.dtype[Any]:
    return np.dtype(list(kinds.items()), align=True)


# A request that has not ended.
REQUEST = _record(
    came_s="f8",  # at the gateway
    first_s="f8",  # when the gateway had the first token; NaN before
    back_s="f8",  # way from the site to the gateway
    work="f8",  # device seconds of the prefill
    prompt="f8",  # tokens
    generated="f8",  # tokens, 1 or more
    had="f8",  # tokens of them that sites made which it had to leave
    mark="f8",  # the batch's `made` at which its first token is made
    chance="f8",  # which request of the session came before, 0 to 1
    luck="f8",  # is its prefix there, 0 to 1
    order="i8",  # candidates still to try, four bits each, the next lowest; 15 ends it
    block_from="i8",  # where the hashes of its prompt's blocks begin ...
    block_to="i8",  # ... and end in `blocks`
    origin="i4",  # row of the site whose gateway took it
    next="i4",  # request behind it in the list it is in
    service="i4",
    candidate="i4",  # place in the origin's candidates
    tries="i4",  # sites that refused it, or that it had to leave
)
# What comes: as `REQUEST`.
ARRIVAL = _record(
    came_s="f8",
    prompt="f8",
    generated="f8",
    chance="f8",
    luck="f8",
    block_from="i8",
    block_to="i8",
    origin="i4",
    service="i4",
)
# What ended.
GONE_BY = _record(
    came_s="f8",  # at the gateway
    first_s="f8",  # from there to the first token back there; NaN for none
    last_s="f8",  # likewise to the last token, or to the refusal
    prompt="f8",
    generated="f8",
    origin="i4",
    service="i4",
    site="i4",  # that served it; -1 for none
    tries="i4",
)
# A request on its way to a site: an entry of a heap by time, then ticket.
TRAVEL = _record(at_s="f8", ticket="i8", who="i4")
# A server: up to some devices that work on one request together.
SERVER = _record(
    devices="f8",
    speed="f8",  # devices for AI: those of the server times the site's share
    given_s="f8",  # device seconds that AI was given so far: what `busy_s` may come up to
    busy_s="f8",  # device seconds worked so far
    at_s="f8",  # time up to which the server is worked out
    prefill_left="f8",  # device seconds that the prefill in hand still takes
    due_s="f8",  # time of its next event; infinite for none
    due_kind="i4",  # what happens then ...
    due_service="i4",  # ... and to which service
    heap_at="i4",  # place in the heap of servers
    site="i4",
    prefill_first="i4",  # request whose prefill is in hand; the others follow by `next`
    prefill_last="i4",  # request that came last
    decoding="i4",  # services with a sequence in decode
)
# A service on a server. Times of cost are in seconds of one device.
CELL = _record(
    prompt_fixed_s="f8",
    prompt_each_s="f8",
    step_fixed_s="f8",
    step_each_s="f8",
    made="f8",  # tokens that a sequence would have which was there since the batch began
    line_s="f8",  # request seconds spent in line so far
    ends_from="i8",  # where its heap begins in `ends`
    places="i4",  # sequences at most; 0 where it cannot run
    limit="i4",  # requests in line at most
    held="i4",  # places taken, from the start of the prefill
    running="i4",  # sequences in decode
    waiting="i4",  # requests in line
    longest="i4",  # line since it was looked at last
    line_first="i4",  # request at the head of the line
    line_last="i4",  # request at its end
    fresh_first="i4",  # sequence in decode without a token, the oldest
    fresh_last="i4",  # the youngest
)
# A sequence in decode: an entry of the heap of its cell, by the `made` at which it ends.
END = _record(made="f8", who="i4")
# What a gateway knows of a candidate of an origin and service.
ROUTE = _record(weight="f4", in_flight="i4")
# A candidate of an origin.
WAY = _record(hop_s="f8", site="i4", upward="i4")
# A service at a site, and what the gateway there remembers of it.
STAND = _record(ready_s="f8", offered="i8", allowed="i4", session_at="i4")
# A service's prefixes: part of a prompt, and the probability that it is where the session was.
PREFIX = _record(spared="f8", residency="f8")
BLOCK = _record(block="i8", used="i8")


class World(NamedTuple):
    """N sites, U servers, S services, K candidates, R rows of requests.

    Attributes:
        requests: (R,) `REQUEST`.
        free: (R,) rows that nobody uses; the first `counts[FREE]` count.
        moving: (R,) `TRAVEL`; the first `counts[MOVING]` count.
        servers: (U,) `SERVER`.
        heap: (U,) servers, by `due_s` and then by row.
        cells: (U, S) `CELL`.
        ends: `END`, of all cells.
        first: (N + 1,) first server of each site.
        routes: (N, S, K) `ROUTE`.
        ways: (N, K) `WAY`.
        stands: (N, S) `STAND`.
        share: (N,) of compute for AI.
        prefixes: (S,) `PREFIX`.
        sessions: (N, S, M) sites that served the last M requests of the origin.
        kept: (sets, WAYS) `BLOCK`: blocks of prompts that sites keep, by hash, oldest out first.
        kept_from: (N + 1,) first set of each site; a site without sets keeps nothing.
        block_tokens: (1,) of a block.
        counts: (COUNTS,).
    """

    requests: Records
    free: Ints
    moving: Records
    servers: Records
    heap: Ints
    cells: Records
    ends: Records
    first: Ints
    routes: Records
    ways: Records
    stands: Records
    share: Floats
    prefixes: Records
    sessions: Ints
    kept: Records
    kept_from: NDArray[np.int64]
    block_tokens: Floats
    counts: NDArray[np.int64]


def servers_of(site: Ints, devices: Floats) -> Records:
    """(U,) idle servers.

    Args:
        site: (U,) rows, in order.
        devices: (U,) of each.
    """
    servers = np.zeros(len(site), SERVER)
    servers["site"], servers["devices"] = site, devices
    servers["prefill_first"] = servers["prefill_last"] = NONE
    servers["due_s"], servers["heap_at"] = np.inf, np.arange(len(site))
    return servers


def cells_of(costs: Floats, places: Ints, limit: Ints) -> tuple[Records, Records]:
    """(U, S) cells where nothing runs, and room for the ends of their sequences.

    Args:
        costs: (4, U, S) prompt_fixed, prompt_each, step_fixed, step_each in device seconds.
        places: (U, S).
        limit: (U, S).
    """
    cells = np.zeros(places.shape, CELL)
    for name, values in zip(CELL.names[:4] if CELL.names else (), costs, strict=True):
        cells[name] = values
    cells["places"], cells["limit"] = places, limit
    for name in ("line_first", "line_last", "fresh_first", "fresh_last"):
        cells[name] = NONE
    room = np.concatenate(([0], np.cumsum(places.reshape(-1), dtype=np.int64)))
    cells["ends_from"] = room[:-1].reshape(places.shape)
    return cells, np.zeros(int(room[-1]), END)


def unused(rows: int) -> Ints:
    """So many rows, the lowest to be used first."""
    return np.arange(rows - 1, -1, -1, dtype=np.int32)


def grown(world: World, room: int) -> World:
    """The same with `room` free rows at least; at least twice the rows where it had too few."""
    rows, kept = len(world.free), int(world.counts[FREE])
    short = room - kept
    if short <= 0:
        return world
    total = max(rows + short, 2 * rows)
    requests, moving = np.zeros(total, REQUEST), np.zeros(total, TRAVEL)
    requests[:rows], moving[:rows] = world.requests, world.moving
    # Rows that were free already are used first.
    free = np.zeros(total, np.int32)
    free[: total - rows] = np.arange(total - 1, rows - 1, -1)
    free[total - rows : total - rows + kept] = world.free[:kept]
    world.counts[FREE] = total - rows + kept
    return world._replace(requests=requests, moving=moving, free=free)
