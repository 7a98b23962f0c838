# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,arg-type"
"""Every request an event after the other: gateway, way, site, prefill, first token, last token.

An event is one of: a request comes to its gateway, which orders its candidates (`admit.order`); it
reaches a site, which takes or refuses it (`admit.admit`), and a refused one travels on; its prefill
ends; its first token is made; its last token is made. Nothing else counts as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from aigrid.control import admit, compiled
from aigrid.twin.region import agenda, columns, prefixes, serving
from aigrid.twin.region.columns import (
    BROKEN,
    BROKEN_AT,
    CAME,
    COMPUTE,
    CONSERVED,
    ENDED,
    EVENTS,
    FREE,
    GONE,
    HOPS,
    LINE,
    MOVED,
    MOVING,
    NONE,
    PLACES,
    REGION,
    STARTED,
)
from aigrid.twin.sources import digest

_OPTIONS = {"nogil": True, "error_model": "numpy"}
# Four bits of a request's order that say: no more.
_NO_MORE = 15
# In place of the candidate of a request that has ended, and must not do so again.
_ENDED = -2
# Of rounding: relative, and device seconds.
_RELATIVE, _SECONDS = 1e-9, 1e-6
_PREFILL_ENDS, _FIRST_TOKEN = serving.PREFILL_ENDS, serving.FIRST_TOKEN


@njit(**_OPTIONS)
def _come(w, arrival, ended):
    """An arrival gets a row, and its candidates an order."""
    w.counts[FREE] -= 1
    w.counts[CAME] += 1
    who = w.free[w.counts[FREE]]
    request = w.requests[who]
    request.came_s = arrival.came_s
    request.first_s = np.nan
    request.prompt = arrival.prompt
    request.generated = max(arrival.generated, 1.0)
    request.had = 0.0
    request.chance = arrival.chance
    request.luck = arrival.luck
    request.block_from = arrival.block_from
    request.block_to = arrival.block_to
    request.origin = arrival.origin
    request.service = arrival.service
    request.next = NONE
    request.candidate = NONE
    request.tries = 0
    _order(w, request)
    _send(w, who, arrival.came_s, ended)


@njit(**_OPTIONS)
def _order(w, request):
    """The candidates of a request in the order in which its gateway tries them.

    Those of the routing table as `admit.order` has them, then those above the origin that the table
    does not name.
    """
    ways, routes = w.ways[request.origin], w.routes[request.origin, request.service]
    width, found = len(ways), 0
    weights, open_ = np.empty(width), np.empty(width, np.int64)
    at = np.empty(width, np.int64)
    order = np.int64(_NO_MORE)
    for k in range(width - 1, -1, -1):
        site = ways[k].site
        unnamed = site >= 0 and ways[k].upward and routes[k].weight <= 0.0
        if unnamed and w.stands[site, request.service].ready_s < np.inf:
            order = (order << 4) | k
    for k in range(width):
        if ways[k].site >= 0 and routes[k].weight > 0.0:
            weights[found], open_[found], at[found] = routes[k].weight, routes[k].in_flight, k
            found += 1
    if found > 0:
        chosen = admit.order(weights[:found], open_[:found])
        for place in range(len(chosen) - 1, -1, -1):
            order = (order << 4) | at[chosen[place]]
    request.order = order


@njit(**_OPTIONS)
def _send(w, who, now_s, ended):
    """From the gateway to the next candidate, or, without one, refused."""
    request = w.requests[who]
    k = request.order & 15
    if request.candidate == _ENDED or w.counts[MOVING] >= len(w.moving):
        w.counts[BROKEN], w.counts[BROKEN_AT] = CONSERVED, NONE
        return
    if k == _NO_MORE:
        _end(w, who, now_s, NONE, ended)
        return
    request.order >>= 4
    request.candidate = k
    w.routes[request.origin, request.service, k].in_flight += 1
    request.back_s = w.ways[request.origin, k].hop_s
    agenda.travel(w.moving, w.counts, now_s + request.back_s, who)


@njit(**_OPTIONS)
def _turn_away(w, who, now_s, anew, ended):
    """A site does not take a request or gives it back; `anew`: its gateway asks everybody again."""
    request = w.requests[who]
    if request.candidate < 0:
        w.counts[BROKEN], w.counts[BROKEN_AT] = CONSERVED, NONE
        return
    w.counts[HOPS] += 1
    request.tries += 1
    w.routes[request.origin, request.service, request.candidate].in_flight -= 1
    if anew:
        _order(w, request)
    _send(w, who, now_s + request.back_s, ended)


@njit(**_OPTIONS)
def _end(w, who, told_s, site, ended):
    """Write down how a request ended, and free its row."""
    request = w.requests[who]
    is_silent = site != NONE and np.isnan(request.first_s)
    if request.candidate == _ENDED or is_silent or w.counts[ENDED] >= len(ended):
        w.counts[BROKEN], w.counts[BROKEN_AT] = CONSERVED, NONE
        return
    request.candidate = _ENDED
    row = ended[w.counts[ENDED]]
    w.counts[ENDED] += 1
    w.counts[GONE] += 1
    row.came_s = request.came_s
    row.first_s = request.first_s - request.came_s
    row.last_s = told_s - request.came_s
    row.prompt = request.prompt
    row.generated = request.generated
    row.origin = request.origin
    row.service = request.service
    row.site = site
    row.tries = request.tries
    w.free[w.counts[FREE]] = who
    w.counts[FREE] += 1


@njit(**_OPTIONS)
def _reach(w, who, now_s, blocks, ended):
    """A request stands at a site's door."""
    request = w.requests[who]
    s = request.service
    site = w.ways[request.origin, request.candidate].site
    stand = w.stands[site, s]
    stand.offered += 1
    at = w.first[site]
    for other in range(at + 1, w.first[site + 1]):
        if _load(w.cells[other, s]) < _load(w.cells[at, s]):
            at = other
    cell = w.cells[at, s]
    refused = not (stand.ready_s <= now_s and cell.places > 0)
    if not refused:
        refused = len(admit.admit(cell.held, cell.waiting, cell.limit, w.share[site])) > 0
    if refused:
        _turn_away(w, who, now_s, False, ended)
        return
    if not stand.allowed:
        w.counts[BROKEN], w.counts[BROKEN_AT] = REGION, at
    w.counts[STARTED] += 1
    request.work = _prefill_s(w, request, cell, site, blocks)
    server = w.servers[at]
    serving.settle(server, w.cells[at], now_s)
    if cell.held < cell.places and cell.waiting == 0:
        serving.take_place(server, cell, w.requests, who)
        _replan(w, at)
    else:
        serving.stand_in_line(cell, w.requests, who)
    _check(w, at)


@njit(**_OPTIONS)
def _load(cell):
    return cell.held + cell.waiting


@njit(**_OPTIONS)
def _prefill_s(w, request, cell, site, blocks):
    """Device seconds of the prefill, less what the site has in its cache."""
    prompt, s = request.prompt, request.service
    if request.block_to > request.block_from:
        mine = blocks[request.block_from : request.block_to]
        begin, end = w.kept_from[site], w.kept_from[site + 1]
        kept = prefixes.by_hashes(w.kept, begin, end, mine, w.counts[STARTED])
        # The last token is always worked on: it makes the first answer.
        prompt = max(prompt - kept * w.block_tokens[0], min(prompt, 1.0))
    else:
        stand, ring = w.stands[request.origin, s], w.sessions[request.origin, s]
        chance, luck = request.chance, request.luck
        prompt *= 1.0 - prefixes.by_session(w.prefixes[s], stand, ring, site, chance, luck)
    # Who was moved brings the tokens that it had: they are worked through like a prompt.
    prompt += request.had
    return cell.prompt_fixed_s + prompt * cell.prompt_each_s


@njit(**_OPTIONS)
def _replan(w, at):
    due_s = serving.due(w.servers[at], w.cells[at], w.requests, w.ends)
    agenda.plan(w.servers, w.heap, at, due_s)


@njit(**_OPTIONS)
def _happen(w, at, now_s, ended):
    """What was due on a server."""
    server, cells = w.servers[at], w.cells[at]
    serving.settle(server, cells, now_s)
    cell = cells[server.due_service]
    if server.due_kind == _PREFILL_ENDS:
        joining = cells[w.requests[server.prefill_first].service]
        if joining.running >= joining.places:
            w.counts[BROKEN], w.counts[BROKEN_AT] = PLACES, at
            return
        serving.prefill_ends(server, cells, w.requests, w.ends)
    elif server.due_kind == _FIRST_TOKEN:
        serving.first_token(cell, w.requests, now_s)
    else:
        who = serving.last_token(server, cell, w.ends)
        request = w.requests[who]
        if request.candidate < 0:
            w.counts[BROKEN], w.counts[BROKEN_AT] = CONSERVED, NONE
            return
        w.routes[request.origin, request.service, request.candidate].in_flight -= 1
        _end(w, who, now_s + request.back_s, server.site, ended)
        if cell.line_first != NONE:
            heir = serving.leave_line(cell, w.requests)
            serving.take_place(server, cell, w.requests, heir)
    _replan(w, at)
    _check(w, at)


@njit(**_OPTIONS)
def _change(w, now_s, until_s, speed, ended):
    """New speeds, and services that stand no more."""
    for at in range(len(speed)):
        server, cells = w.servers[at], w.cells[at]
        server.given_s += (until_s - now_s) * server.devices * w.share[server.site]
        if speed[at] != server.speed:
            serving.settle(server, cells, now_s)
            server.speed = speed[at]
            if speed[at] <= 0.0:
                _pause(w, server, cells, now_s, ended)
            _replan(w, at)
        for s in range(len(cells)):
            if cells[s].waiting > 0 and w.stands[server.site, s].ready_s == np.inf:
                serving.settle(server, cells, now_s)
                _empty(w, cells[s], now_s, ended)


@njit(**_OPTIONS)
def _empty(w, cell, now_s, ended):
    """A service's line goes elsewhere."""
    while cell.line_first != NONE:
        who = serving.leave_line(cell, w.requests)
        _turn_away(w, who, now_s, True, ended)


@njit(**_OPTIONS)
def _pause(w, server, cells, now_s, ended):
    """Nothing moves here any more: all go elsewhere, streams with the tokens that they have."""
    for s in range(len(cells)):
        _empty(w, cells[s], now_s, ended)
        while cells[s].running > 0:
            who = serving.break_off(server, cells[s], w.requests, w.ends)
            w.counts[MOVED] += 1
            _turn_away(w, who, now_s, True, ended)
    while server.prefill_first != NONE:
        who = server.prefill_first
        server.prefill_first = w.requests[who].next
        cells[w.requests[who].service].held -= 1
        _turn_away(w, who, now_s, True, ended)


@njit(**_OPTIONS)
def _check(w, at):
    """Rules of one server, after an event there."""
    cells = w.cells[at]
    for s in range(len(cells)):
        cell = cells[s]
        if cell.held > cell.places or cell.running > cell.held:
            w.counts[BROKEN], w.counts[BROKEN_AT] = PLACES, at
        if cell.waiting > cell.limit:
            w.counts[BROKEN], w.counts[BROKEN_AT] = LINE, at


@njit(**_OPTIONS)
def _check_all(w, until_s):
    """Rules of all servers at the end of a span, counted anew.

    Everybody in flight is on the way, in a line, in prefill or in a batch, and nowhere twice; no
    server worked longer than AI was given.
    """
    open_ = w.counts[MOVING]
    for at in range(len(w.servers)):
        server, cells = w.servers[at], w.cells[at]
        serving.settle(server, cells, until_s)
        if server.busy_s > server.given_s * (1.0 + _RELATIVE) + _SECONDS:
            w.counts[BROKEN], w.counts[BROKEN_AT] = COMPUTE, at
        open_ += _listed(w, server.prefill_first)
        for s in range(len(cells)):
            open_ += cells[s].running + _listed(w, cells[s].line_first)
    if open_ != len(w.requests) - w.counts[FREE]:
        w.counts[BROKEN], w.counts[BROKEN_AT] = CONSERVED, NONE


@njit(**_OPTIONS)
def _listed(w, who):
    """Length of a list; one that goes in a circle ends too."""
    found = 0
    while who != NONE and found <= len(w.requests):
        found += 1
        who = w.requests[who].next
    return found


def _compiled(code: str) -> Any:
    @njit(cache=True, **_OPTIONS)
    def advance(w, from_s, until_s, speed, arrivals, blocks, ended):
        """All events from `from_s` on and before `until_s`; returns `code`.

        Rules are checked after every event; `counts[BROKEN]` tells the first that did not hold, and
        nothing happens after it.

        Args:
            w: the world, changed in place; with free rows for all arrivals.
            from_s: time of the last decision; speeds and places in force change now.
            until_s: of the next one.
            speed: (U,) devices for AI of each server from now on.
            arrivals: (A,) `ARRIVAL` of the span, in order of time.
            blocks: hashes of all prompts.
            ended: `GONE_BY` to fill; with room for all that are in flight, and all arrivals.
        """
        counts = w.counts
        _change(w, from_s, until_s, speed, ended)
        row, total = 0, len(arrivals)
        while counts[BROKEN] == 0:
            at = w.heap[0]
            due_s = w.servers[at].due_s
            reach_s = w.moving[0].at_s if counts[MOVING] > 0 else np.inf
            came_s = arrivals[row].came_s if row < total else np.inf
            now_s = min(due_s, reach_s, came_s)
            if now_s >= until_s:
                _check_all(w, until_s)
                break
            counts[EVENTS] += 1
            if due_s <= reach_s and due_s <= came_s:
                _happen(w, at, due_s, ended)
            elif reach_s <= came_s:
                who = agenda.reached(w.moving, counts)
                _reach(w, who, reach_s, blocks, ended)
            else:
                _come(w, arrivals[row], ended)
                row += 1
            if counts[CAME] != counts[GONE] + len(w.requests) - counts[FREE]:
                counts[BROKEN], counts[BROKEN_AT] = CONSERVED, NONE
        return code

    return advance


# Compiled code is kept on disk, and kept code knows of no other file than its own; that the sources
# it was made of are part of its key makes sure that it is `control`'s present code that runs.
CODE = digest(admit, compiled, agenda, columns, prefixes, serving)
advance = _compiled(CODE)
