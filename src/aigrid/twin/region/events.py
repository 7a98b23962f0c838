# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,arg-type"
"""Every request an event after the other: gateway, way, site, prefill, first token, last token.

An event is one of: a request comes to its gateway, which orders its candidates (`admit.order`); it
reaches a site, which takes or refuses it (`admit.admit`), and a refused one travels on; its prefill
ends; its first token is made; its last token is made. Nothing else counts as one.
"""

from __future__ import annotations

import hashlib
import inspect
from types import ModuleType
from typing import Any

import numpy as np
from numba import njit

from aigrid.control import admit, compiled
from aigrid.twin.region import agenda as agendas
from aigrid.twin.region import columns, prefixes, serving
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

_OPTIONS = {"nogil": True, "error_model": "numpy"}
# Four bits of a request's order that say: no more.
_NO_MORE = 15
# Of rounding: relative, and device seconds.
_RELATIVE, _SECONDS = 1e-9, 1e-6
_PREFILL_ENDS, _FIRST_TOKEN = serving.PREFILL_ENDS, serving.FIRST_TOKEN


@njit(**_OPTIONS)
def _come(row, arrivals, gateways, requests, agenda, ended, counts):
    """An arrival gets a row, and its candidates an order."""
    counts[FREE] -= 1
    counts[CAME] += 1
    who = requests.free[counts[FREE]]
    origin, s = arrivals.origin[row], arrivals.service[row]
    requests.came_s[who] = arrivals.came_s[row]
    requests.first_s[who] = np.nan
    requests.prompt[who] = arrivals.prompt[row]
    requests.generated[who] = arrivals.generated[row]
    requests.origin[who], requests.service[who] = origin, s
    requests.server[who], requests.next[who] = NONE, NONE
    requests.tries[who] = 0
    requests.had[who] = 0.0
    requests.chance[who, 0], requests.chance[who, 1] = (
        arrivals.chance[row, 0],
        arrivals.chance[row, 1],
    )
    requests.blocks[who, 0], requests.blocks[who, 1] = arrivals.span[row, 0], arrivals.span[row, 1]
    _order(who, gateways, requests)
    _send(who, arrivals.came_s[row], 0.0, gateways, requests, agenda, ended, counts)


@njit(**_OPTIONS)
def _order(who, gateways, requests):
    """The candidates of a request in the order in which its gateway tries them.

    Those of the routing table as `admit.order` has them, then those above the origin that the table
    does not name.
    """
    origin, s = requests.origin[who], requests.service[who]
    reach, weight = gateways.reach[origin], gateways.weight[s, origin]
    width = len(reach)
    weights, open_ = np.empty(width), np.empty(width, np.int64)
    at, found = np.empty(width, np.int64), 0
    for k in range(width):
        if reach[k] >= 0 and weight[k] > 0.0:
            weights[found], open_[found] = weight[k], gateways.in_flight[origin, s, k]
            at[found] = k
            found += 1
    order = np.int64(_NO_MORE)
    for k in range(width - 1, -1, -1):
        unnamed = reach[k] >= 0 and gateways.upward[origin, k] and weight[k] <= 0.0
        if unnamed and gateways.ready_s[s, reach[k]] < np.inf:
            order = (order << 4) | k
    if found > 0:
        chosen = admit.order(weights[:found], open_[:found])
        for place in range(len(chosen) - 1, -1, -1):
            order = (order << 4) | at[chosen[place]]
    requests.order[who] = order


@njit(**_OPTIONS)
def _send(who, now_s, back_s, gateways, requests, agenda, ended, counts):
    """To the next candidate, or, without one, refused; the gateway hears in `back_s`."""
    origin, s = requests.origin[who], requests.service[who]
    k = requests.order[who] & 15
    requests.server[who] = NONE
    if k == _NO_MORE:
        _end(who, now_s + back_s, NONE, requests, ended, counts)
        return
    requests.order[who] >>= 4
    requests.candidate[who] = k
    gateways.in_flight[origin, s, k] += 1
    hop_s = gateways.hop_s[origin, k]
    requests.back_s[who] = hop_s
    agendas.travel(agenda, counts, now_s + back_s + hop_s, who)


@njit(**_OPTIONS)
def _turn_away(who, now_s, gateways, requests, agenda, ended, counts):
    """A site does not take a request, or gives one up that got nothing yet."""
    counts[HOPS] += 1
    requests.tries[who] += 1
    gateways.in_flight[requests.origin[who], requests.service[who], requests.candidate[who]] -= 1
    _send(who, now_s, requests.back_s[who], gateways, requests, agenda, ended, counts)


@njit(**_OPTIONS)
def _end(who, told_s, site, requests, ended, counts):
    """Write down how a request ended, and free its row."""
    row = counts[ENDED]
    counts[ENDED] += 1
    counts[GONE] += 1
    came_s = requests.came_s[who]
    ended.came_s[row] = came_s
    ended.first_s[row] = requests.first_s[who] - came_s
    ended.last_s[row] = told_s - came_s
    ended.tokens[row, 0], ended.tokens[row, 1] = requests.prompt[who], requests.generated[who]
    ended.origin[row], ended.service[row] = requests.origin[who], requests.service[who]
    ended.site[row], ended.tries[row] = site, requests.tries[who]
    requests.free[counts[FREE]] = who
    counts[FREE] += 1


@njit(**_OPTIONS)
def _reach(who, now_s, arrivals, gateways, servers, agenda, requests, cache, ended, counts):
    """A request stands at a site's door."""
    origin, s = requests.origin[who], requests.service[who]
    site = gateways.reach[origin, requests.candidate[who]]
    gateways.offered[site, s] += 1
    server = servers.first[site]
    for other in range(server + 1, servers.first[site + 1]):
        if _load(servers, other, s) < _load(servers, server, s):
            server = other
    held, waiting = servers.held[server, s], servers.waiting[server, s]
    refused = not (gateways.ready_s[s, site] <= now_s and servers.places[server, s] > 0)
    if not refused:
        limit = servers.limit[server, s]
        refused = admit.admit(held, waiting, limit, gateways.share[site]) != ""
    if refused:
        _turn_away(who, now_s, gateways, requests, agenda, ended, counts)
        return
    if not gateways.allowed[s, site]:
        counts[BROKEN], counts[BROKEN_AT] = REGION, server
    counts[STARTED] += 1
    requests.server[who] = server
    requests.work[who] = _prefill_s(
        who, server, site, arrivals, gateways, servers, requests, cache, counts
    )
    serving.settle(servers, server, now_s)
    if held < servers.places[server, s] and waiting == 0:
        serving.take_place(servers, requests, server, who)
        serving.replan(servers, agenda, requests, server)
    else:
        serving.stand_in_line(servers, requests, server, who)
    _check(server, servers, counts)


@njit(**_OPTIONS)
def _check(server, servers, counts):
    """Rules of one server, after an event there."""
    for s in range(servers.held.shape[1]):
        held = servers.held[server, s]
        if held > servers.places[server, s] or servers.running[server, s] > held:
            counts[BROKEN], counts[BROKEN_AT] = PLACES, server
        if servers.waiting[server, s] > servers.limit[server, s]:
            counts[BROKEN], counts[BROKEN_AT] = LINE, server


@njit(**_OPTIONS)
def _check_all(until_s, servers, requests, counts):
    """Rules of all servers at the end of a span, counted anew.

    Everybody in flight is on the way, in a line, in prefill or in a batch, and nowhere twice; no
    server worked longer than AI was given.
    """
    open_ = counts[MOVING]
    for server in range(len(servers.speed)):
        serving.settle(servers, server, until_s)
        if servers.busy[server] > servers.given_s[server] * (1.0 + _RELATIVE) + _SECONDS:
            counts[BROKEN], counts[BROKEN_AT] = COMPUTE, server
        who = servers.prefill_first[server]
        while who != NONE and open_ <= len(requests.free):
            open_ += 1
            who = requests.next[who]
        for s in range(servers.held.shape[1]):
            open_ += servers.running[server, s]
            who = servers.line_first[server, s]
            while who != NONE and open_ <= len(requests.free):
                open_ += 1
                who = requests.next[who]
    if open_ != len(requests.free) - counts[FREE]:
        counts[BROKEN], counts[BROKEN_AT] = CONSERVED, NONE


@njit(**_OPTIONS)
def _load(servers, server, service):
    return servers.held[server, service] + servers.waiting[server, service]


@njit(**_OPTIONS)
def _prefill_s(who, server, site, arrivals, gateways, servers, requests, cache, counts):
    """Device seconds of the prefill, less what the site has in its cache."""
    s, prompt = requests.service[who], requests.prompt[who]
    first, last = requests.blocks[who, 0], requests.blocks[who, 1]
    if last > first:
        kept = prefixes.by_hashes(cache, site, arrivals.blocks[first:last], counts[STARTED])
        # The last token is always worked on: it makes the first answer.
        prompt = max(prompt - kept * cache.tokens[0], min(prompt, 1.0))
    else:
        chance = requests.chance[who]
        prompt *= 1.0 - prefixes.by_session(gateways, requests.origin[who], s, site, chance)
    # Who was moved brings the tokens that it had: they are worked through like a prompt.
    prompt += requests.had[who]
    return servers.prompt_fixed_s[server, s] + prompt * servers.prompt_each_s[server, s]


@njit(**_OPTIONS)
def _happen(server, now_s, gateways, servers, agenda, requests, ended, counts):
    """What was due on a server."""
    serving.settle(servers, server, now_s)
    kind, s = servers.due_kind[server], servers.due_service[server]
    if kind == _PREFILL_ENDS:
        serving.prefill_ends(servers, requests, server)
    elif kind == _FIRST_TOKEN:
        serving.first_token(servers, requests, server, s, now_s)
    else:
        who = serving.last_token(servers, server, s)
        origin, candidate = requests.origin[who], requests.candidate[who]
        gateways.in_flight[origin, s, candidate] -= 1
        told_s = now_s + requests.back_s[who]
        _end(who, told_s, servers.site[server], requests, ended, counts)
        if servers.line_first[server, s] != NONE:
            heir = serving.leave_line(servers, requests, server, s)
            serving.take_place(servers, requests, server, heir)
    serving.replan(servers, agenda, requests, server)
    _check(server, servers, counts)


@njit(**_OPTIONS)
def _empty(server, s, now_s, gateways, servers, agenda, requests, ended, counts):
    """A service's line goes elsewhere."""
    while servers.line_first[server, s] != NONE:
        who = serving.leave_line(servers, requests, server, s)
        _turn_away(who, now_s, gateways, requests, agenda, ended, counts)


@njit(**_OPTIONS)
def _pause(server, now_s, gateways, servers, agenda, requests, ended, counts):
    """Nothing moves here any more: all go elsewhere, streams with the tokens that they have."""
    for s in range(servers.running.shape[1]):
        while servers.line_first[server, s] != NONE:
            who = serving.leave_line(servers, requests, server, s)
            _move(who, now_s, gateways, requests, agenda, ended, counts)
        while servers.running[server, s] > 0:
            who = serving.leave(servers, requests, server, s)
            counts[MOVED] += 1
            _move(who, now_s, gateways, requests, agenda, ended, counts)
    while servers.prefill_first[server] != NONE:
        who = servers.prefill_first[server]
        servers.prefill_first[server] = requests.next[who]
        servers.held[server, requests.service[who]] -= 1
        _move(who, now_s, gateways, requests, agenda, ended, counts)


@njit(**_OPTIONS)
def _move(who, now_s, gateways, requests, agenda, ended, counts):
    """A site gives a request back, and its gateway asks everybody anew."""
    counts[HOPS] += 1
    requests.tries[who] += 1
    gateways.in_flight[requests.origin[who], requests.service[who], requests.candidate[who]] -= 1
    _order(who, gateways, requests)
    _send(who, now_s, requests.back_s[who], gateways, requests, agenda, ended, counts)


@njit(**_OPTIONS)
def _change(now_s, speed, gateways, servers, agenda, requests, ended, counts):
    """New speeds, and services that stand no more."""
    for server in range(len(speed)):
        site = servers.site[server]
        if speed[server] != servers.speed[server]:
            serving.settle(servers, server, now_s)
            servers.speed[server] = speed[server]
            if speed[server] <= 0.0:
                _pause(server, now_s, gateways, servers, agenda, requests, ended, counts)
            serving.replan(servers, agenda, requests, server)
        for s in range(servers.running.shape[1]):
            if servers.waiting[server, s] > 0 and gateways.ready_s[s, site] == np.inf:
                serving.settle(servers, server, now_s)
                _empty(server, s, now_s, gateways, servers, agenda, requests, ended, counts)


def _sources(*modules: ModuleType) -> str:
    """Digest of modules' sources."""
    texts = "\0".join(inspect.getsource(module) for module in modules)
    return hashlib.sha256(texts.encode()).hexdigest()


def _compiled(code: str) -> Any:
    @njit(cache=True, **_OPTIONS)
    def advance(
        from_s,
        until_s,
        speed,
        arrivals,
        gateways,
        servers,
        agenda,
        requests,
        cache,
        ended,
        counts,
    ):
        """All events from `from_s` on and before `until_s`; returns `code`.

        Rules are checked after every event; `counts[BROKEN]` tells the first that did not hold, and
        nothing happens after it.

        Args:
            from_s: time of the last decision; speeds and places in force change now.
            until_s: of the next one.
            speed: (U,) devices for AI of each server from now on.
            arrivals: of the span.
            gateways: with the routes in force.
            servers: changed in place.
            agenda: likewise.
            requests: likewise; with free rows for all arrivals.
            cache: likewise.
            ended: to fill; with room for all that travel or are served, and all arrivals.
            counts: changed in place.
        """
        for server in range(len(speed)):
            given = servers.devices[server] * gateways.share[servers.site[server]]
            servers.given_s[server] += (until_s - from_s) * given
        _change(from_s, speed, gateways, servers, agenda, requests, ended, counts)
        row, total = 0, len(arrivals.came_s)
        while True:
            server = agenda.heap[0]
            due_s = agenda.due_s[server]
            reach_s = agenda.arrive_s[0] if counts[MOVING] > 0 else np.inf
            came_s = arrivals.came_s[row] if row < total else np.inf
            now_s = min(due_s, reach_s, came_s)
            if now_s >= until_s:
                break
            counts[EVENTS] += 1
            if due_s <= reach_s and due_s <= came_s:
                _happen(server, due_s, gateways, servers, agenda, requests, ended, counts)
            elif reach_s <= came_s:
                who = agendas.reached(agenda, counts)
                _reach(
                    who,
                    reach_s,
                    arrivals,
                    gateways,
                    servers,
                    agenda,
                    requests,
                    cache,
                    ended,
                    counts,
                )
            else:
                _come(row, arrivals, gateways, requests, agenda, ended, counts)
                row += 1
            if counts[CAME] != counts[GONE] + len(requests.free) - counts[FREE]:
                counts[BROKEN], counts[BROKEN_AT] = CONSERVED, NONE
            if counts[BROKEN] != 0:
                return code
        _check_all(until_s, servers, requests, counts)
        return code

    return advance


# Compiled code is kept on disk, and kept code knows of no other file than its own; that the sources
# it was made of are part of its key makes sure that it is `control`'s present code that runs.
CODE = _sources(admit, compiled, agendas, columns, prefixes, serving)
advance = _compiled(CODE)
