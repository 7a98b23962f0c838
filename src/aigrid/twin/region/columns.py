"""The region's state as columns: servers, requests on their way, gateways, what ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Smalls = NDArray[np.int8]
Bools = NDArray[np.bool_]

NONE = -1
NO_BLOCK = np.iinfo(np.int64).min
WAYS = 8
# Rows of `counts`: events, free rows of `Requests`, requests on their way, tickets given, rows of
# `Ended` written, refusals of single sites, requests that a site took, requests that came and that
# ended since the beginning, streams that went on elsewhere, the rule that was broken and where.
EVENTS, FREE, MOVING, TICKET, ENDED, HOPS, STARTED, CAME, GONE, MOVED, BROKEN, BROKEN_AT = range(12)
COUNTS = 12
# Rules that the engine checks; values of `counts[BROKEN]`.
CONSERVED, PLACES, LINE, COMPUTE, REGION = range(1, 6)


class Servers(NamedTuple):
    """U servers by S services. Times of cost are in seconds of one device.

    Attributes:
        site: (U,) row of the site.
        first: (N + 1,) first server of each site.
        speed: (U,) devices for AI: those of the server times the site's share.
        devices: (U,) of the server.
        given_s: (U,) device seconds that AI was given so far: what `busy` may come up to.
        at_s: (U,) time up to which the columns below are worked out.
        prefill_left: (U,) device seconds that the prefill in hand still takes.
        busy: (U,) device seconds worked so far.
        prefill_first: (U,) request whose prefill is in hand; the others follow by `next`.
        prefill_last: (U,) request that came last.
        decoding: (U,) services with a sequence in decode.
        due_kind: (U,) what happens next.
        due_service: (U,) to which service.
        prompt_fixed_s: (U, S) of a prefill.
        prompt_each_s: (U, S) of a prompt token.
        step_fixed_s: (U, S) of a decode step.
        step_each_s: (U, S) of a sequence in a decode step.
        places: (U, S) sequences at most.
        limit: (U, S) requests in line at most.
        held: (U, S) places taken, from the start of the prefill.
        running: (U, S) sequences in decode.
        waiting: (U, S) requests in line.
        longest: (U, S) line since it was looked at last.
        line_s: (U, S) request seconds spent in line so far.
        line_first: (U, S) request at the head of the line.
        line_last: (U, S) request at its end.
        fresh_first: (U, S) sequence in decode without a token, the oldest.
        fresh_last: (U, S) the youngest.
        made: (U, S) tokens that a sequence would have which was there since the batch began.
        ends_from: (U, S) where the service's heap of ends begins.
        ends_made: heaps of `made` at which sequences end.
        ends_who: heaps of their requests.
    """

    site: Ints
    first: Ints
    speed: Floats
    devices: Floats
    given_s: Floats
    at_s: Floats
    prefill_left: Floats
    busy: Floats
    prefill_first: Ints
    prefill_last: Ints
    decoding: Ints
    due_kind: Smalls
    due_service: Smalls
    prompt_fixed_s: Floats
    prompt_each_s: Floats
    step_fixed_s: Floats
    step_each_s: Floats
    places: Ints
    limit: Ints
    held: Ints
    running: Ints
    waiting: Ints
    longest: Ints
    line_s: Floats
    line_first: Ints
    line_last: Ints
    fresh_first: Ints
    fresh_last: Ints
    made: Floats
    ends_from: NDArray[np.int64]
    ends_made: Floats
    ends_who: Ints


class Agenda(NamedTuple):
    """What happens when: two heaps, of requests that travel and of servers.

    Attributes:
        arrive_s: (R,) heap of times at which requests reach a site.
        ticket: (R,) order of those that reach one at the same time.
        who: (R,) requests.
        due_s: (U,) time of the next event of each server; infinite for none.
        heap: (U,) servers, by `due_s` and then by row.
        place: (U,) where each server is in `heap`.
    """

    arrive_s: Floats
    ticket: NDArray[np.int64]
    who: Ints
    due_s: Floats
    heap: Ints
    place: Ints


class Requests(NamedTuple):
    """R rows of requests that came and have not ended.

    Attributes:
        came_s: (R,) at the gateway.
        first_s: (R,) when its gateway had the first token; NaN before.
        back_s: (R,) way from the site to the gateway.
        work: (R,) device seconds of the prefill.
        prompt: (R,) tokens.
        generated: (R,) tokens, 1 or more.
        had: (R,) tokens of them that sites made which it had to leave.
        mark: (R,) the batch's `made` at which its first token is made.
        origin: (R,) row of the site whose gateway took it.
        service: (R,).
        server: (R,) where it is; -1 while it travels.
        candidate: (R,) place in the origin's candidates.
        order: (R,) candidates still to try, four bits each, the next lowest; 15 ends it.
        tries: (R,) sites that refused it.
        chance: (R, 2) of `Arrivals`.
        blocks: (R, 2) where the hashes of its prompt's blocks begin and end in `Arrivals`.
        next: (R,) request behind it in the list it is in.
        free: (R,) rows that nobody uses; the first `counts[FREE]` count.
    """

    came_s: Floats
    first_s: Floats
    back_s: Floats
    work: Floats
    prompt: Floats
    generated: Floats
    had: Floats
    mark: Floats
    origin: Ints
    service: Smalls
    server: Ints
    candidate: Smalls
    order: NDArray[np.int64]
    tries: Smalls
    chance: Floats
    blocks: NDArray[np.int64]
    next: Ints
    free: Ints


class Gateways(NamedTuple):
    """What the gateway of each of N origins knows.

    Attributes:
        reach: (N, K) candidates, K at most 15.
        weight: (S, N, K) float32.
        hop_s: (N, K) one way.
        in_flight: (N, S, K) requests open.
        ready_s: (S, N) since when the service stands at a site; infinite: it does not.
        share: (N,) of compute for AI.
        allowed: (S, N) where a service may run.
        upward: (N, K) candidates above the origin, which are tried when the others have refused.
        offered: (N, S) requests that came to the site, refused ones too.
        spared: (S,) part of a prompt that the prefix is.
        residency: (S,) probability that the prefix is there where the session was before.
        session: (N, S, M) sites that served the last M requests of the origin.
        session_at: (N, S) which of them is the oldest.
    """

    reach: Ints
    weight: NDArray[np.float32]
    hop_s: Floats
    in_flight: Ints
    ready_s: Floats
    share: Floats
    allowed: Bools
    upward: Bools
    offered: NDArray[np.int64]
    spared: Floats
    residency: Floats
    session: Ints
    session_at: Smalls


class Arrivals(NamedTuple):
    """Requests of a span of time, in order of time.

    Attributes:
        came_s: (A,) at the gateway.
        origin: (A,) int32.
        service: (A,) int8.
        prompt: (A,) tokens.
        generated: (A,) tokens, 1 or more.
        chance: (A, 2) uniform: which request of the session came before; is its prefix there.
        span: (A, 2) where the hashes of its prompt's blocks begin and end; equal without hashes.
        blocks: int64 hashes, of all requests.
    """

    came_s: Floats
    origin: Ints
    service: Smalls
    prompt: Floats
    generated: Floats
    chance: Floats
    span: NDArray[np.int64]
    blocks: NDArray[np.int64]


class Cache(NamedTuple):
    """Blocks of prompts that sites keep, found by hash; sets of a few ways, the oldest goes first.

    Attributes:
        first: (N + 1,) first set of each site; a site without sets keeps nothing.
        block: (sets, ways) int64 hashes; `NO_BLOCK` for none.
        used: (sets, ways) int64 when used last.
        tokens: (1,) of a block.
    """

    first: NDArray[np.int64]
    block: NDArray[np.int64]
    used: NDArray[np.int64]
    tokens: Floats


class Ended(NamedTuple):
    """Requests that ended in a span of time, in order; the first `counts[ENDED]` rows count.

    Attributes:
        came_s: (E,) at the gateway.
        first_s: (E,) from the gateway to the first token there.
        last_s: (E,) from the gateway to the last token there, or to the refusal.
        tokens: (E, 2) of the prompt, and generated.
        origin: (E,).
        service: (E,).
        site: (E,) that served it; -1 for none.
        tries: (E,) sites that refused it, or that it had to leave.
    """

    came_s: Floats
    first_s: Floats
    last_s: Floats
    tokens: Floats
    origin: Ints
    service: Smalls
    site: Ints
    tries: Smalls


def servers_of(
    site: Ints,
    devices: Floats,
    costs: Floats,
    places: Ints,
    limit: Ints,
) -> Servers:
    """Idle servers.

    Args:
        site: (U,) rows, in order.
        devices: (U,) of each.
        costs: (4, U, S) prompt_fixed, prompt_each, step_fixed, step_each in device seconds.
        places: (U, S); 0 where the service cannot run.
        limit: (U, S).
    """
    count, services = places.shape
    flat = np.concatenate(([0], np.cumsum(places.reshape(-1), dtype=np.int64)))
    sites = int(site[-1]) + 1 if count else 0

    def ints(*shape: int) -> Ints:
        return np.zeros(shape, np.int32)

    def none(*shape: int) -> Ints:
        return np.full(shape, NONE, np.int32)

    return Servers(
        site=np.asarray(site, np.int32),
        first=np.searchsorted(site, np.arange(sites + 1)).astype(np.int32),
        speed=np.zeros(count),
        devices=np.asarray(devices, np.float64),
        given_s=np.zeros(count),
        at_s=np.zeros(count),
        prefill_left=np.zeros(count),
        busy=np.zeros(count),
        prefill_first=none(count),
        prefill_last=none(count),
        decoding=ints(count),
        due_kind=np.zeros(count, np.int8),
        due_service=np.zeros(count, np.int8),
        prompt_fixed_s=np.ascontiguousarray(costs[0]),
        prompt_each_s=np.ascontiguousarray(costs[1]),
        step_fixed_s=np.ascontiguousarray(costs[2]),
        step_each_s=np.ascontiguousarray(costs[3]),
        places=np.asarray(places, np.int32),
        limit=np.asarray(limit, np.int32),
        held=ints(count, services),
        running=ints(count, services),
        waiting=ints(count, services),
        longest=ints(count, services),
        line_s=np.zeros((count, services)),
        line_first=none(count, services),
        line_last=none(count, services),
        fresh_first=none(count, services),
        fresh_last=none(count, services),
        made=np.zeros((count, services)),
        ends_from=flat[:-1].reshape(count, services),
        ends_made=np.zeros(flat[-1]),
        ends_who=np.zeros(flat[-1], np.int32),
    )


def agenda_of(servers: int, requests: int) -> Agenda:
    """Nothing planned."""
    every = np.arange(servers, dtype=np.int32)
    return Agenda(
        np.zeros(requests),
        np.zeros(requests, np.int64),
        np.zeros(requests, np.int32),
        np.full(servers, np.inf),
        every,
        every.copy(),
    )


def requests_of(rows: int) -> Requests:
    """Rows that nobody uses, the lowest first."""
    return Requests(
        came_s=np.zeros(rows),
        first_s=np.zeros(rows),
        back_s=np.zeros(rows),
        work=np.zeros(rows),
        prompt=np.zeros(rows),
        generated=np.zeros(rows),
        had=np.zeros(rows),
        mark=np.zeros(rows),
        origin=np.zeros(rows, np.int32),
        service=np.zeros(rows, np.int8),
        server=np.full(rows, NONE, np.int32),
        candidate=np.zeros(rows, np.int8),
        order=np.zeros(rows, np.int64),
        tries=np.zeros(rows, np.int8),
        chance=np.zeros((rows, 2)),
        blocks=np.zeros((rows, 2), np.int64),
        next=np.full(rows, NONE, np.int32),
        free=np.arange(rows - 1, -1, -1, dtype=np.int32),
    )


def ended_of(rows: int) -> Ended:
    """Room for so many."""
    return Ended(
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros((rows, 2)),
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int8),
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int8),
    )


def grown(
    requests: Requests, agenda: Agenda, counts: NDArray[np.int64], room: int
) -> tuple[Requests, Agenda]:
    """The same with `room` free rows at least; at least twice the rows where it had too few."""
    rows = len(requests.free)
    short = room - int(counts[FREE])
    if short <= 0:
        return requests, agenda
    more = requests_of(max(rows + short, 2 * rows))
    for name in Requests._fields[:-1]:
        getattr(more, name)[:rows] = getattr(requests, name)
    kept = int(counts[FREE])
    # Rows that were free already are used first.
    added = np.arange(len(more.free) - 1, rows - 1, -1, dtype=np.int32)
    more.free[: len(added) + kept] = np.concatenate([added, requests.free[:kept]])
    counts[FREE] = len(added) + kept
    moving = agenda_of(0, len(more.free))
    for name in ("arrive_s", "ticket", "who"):
        getattr(moving, name)[:rows] = getattr(agenda, name)
    return more, moving._replace(due_s=agenda.due_s, heap=agenda.heap, place=agenda.place)


def cut(ended: Ended, rows: int) -> Ended:
    """The first rows."""
    return Ended._make(column[:rows] for column in ended)
