# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""One server's work, as `ServiceCost` has it: prefills first, then batches that take turns.

Between two events nothing changes but how far the work is, so that an event costs the same whatever
time has passed. All sequences of a batch are equally fast: one number, the tokens `made` since the
batch began, tells how far each is (the virtual time of generalised processor sharing; Parekh and
Gallager, IEEE/ACM Trans. Networking 1, 1993).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.region import agenda as agendas
from aigrid.twin.region.columns import NONE

PREFILL_ENDS, FIRST_TOKEN, LAST_TOKEN = range(3)
_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def settle(servers, server, now_s):
    """Work out how far a server is now."""
    elapsed = now_s - servers.at_s[server]
    servers.at_s[server] = now_s
    if elapsed <= 0.0:
        return
    for s in range(servers.waiting.shape[1]):
        servers.line_s[server, s] += elapsed * servers.waiting[server, s]
    work = elapsed * servers.speed[server]
    if servers.prefill_first[server] != NONE:
        servers.busy[server] += work
        servers.prefill_left[server] -= work
    elif servers.decoding[server] > 0:
        servers.busy[server] += work
        turn = work / servers.decoding[server]
        for s in range(servers.running.shape[1]):
            if servers.running[server, s] > 0:
                servers.made[server, s] += turn / step_s(servers, server, s)


@njit(**_OPTIONS)
def step_s(servers, server, service):
    """Device seconds of one step of the batch as it is."""
    fixed = servers.step_fixed_s[server, service]
    return fixed + servers.running[server, service] * servers.step_each_s[server, service]


@njit(**_OPTIONS)
def replan(servers, agenda, requests, server):
    """Find out what happens next on a server that is settled."""
    due_s, speed = np.inf, servers.speed[server]
    if speed > 0.0 and servers.prefill_first[server] != NONE:
        servers.due_kind[server] = PREFILL_ENDS
        due_s = servers.at_s[server] + max(servers.prefill_left[server], 0.0) / speed
    elif speed > 0.0 and servers.decoding[server] > 0:
        soonest = np.inf
        for s in range(servers.running.shape[1]):
            if servers.running[server, s] > 0:
                until, kind = servers.ends_made[servers.ends_from[server, s]], LAST_TOKEN
                fresh = servers.fresh_first[server, s]
                if fresh != NONE and requests.mark[fresh] <= until:
                    until, kind = requests.mark[fresh], FIRST_TOKEN
                work = max(until - servers.made[server, s], 0.0) * step_s(servers, server, s)
                if work < soonest:
                    soonest = work
                    servers.due_kind[server], servers.due_service[server] = kind, s
        due_s = servers.at_s[server] + soonest * servers.decoding[server] / speed
    agendas.plan(agenda, server, due_s)


@njit(**_OPTIONS)
def take_place(servers, requests, server, who):
    """A request takes a place, and its prefill comes after those that are there."""
    servers.held[server, requests.service[who]] += 1
    requests.next[who] = NONE
    if servers.prefill_first[server] == NONE:
        servers.prefill_first[server] = who
        servers.prefill_left[server] = requests.work[who]
    else:
        requests.next[servers.prefill_last[server]] = who
    servers.prefill_last[server] = who


@njit(**_OPTIONS)
def stand_in_line(servers, requests, server, who):
    """A request waits for a place."""
    s = requests.service[who]
    requests.next[who] = NONE
    if servers.line_first[server, s] == NONE:
        servers.line_first[server, s] = who
    else:
        requests.next[servers.line_last[server, s]] = who
    servers.line_last[server, s] = who
    servers.waiting[server, s] += 1
    servers.longest[server, s] = max(servers.longest[server, s], servers.waiting[server, s])


@njit(**_OPTIONS)
def leave_line(servers, requests, server, service):
    """The head of a line leaves it."""
    who = servers.line_first[server, service]
    servers.line_first[server, service] = requests.next[who]
    servers.waiting[server, service] -= 1
    return who


@njit(**_OPTIONS)
def prefill_ends(servers, requests, server):
    """The prefill in hand is done: its request joins the batch."""
    who = servers.prefill_first[server]
    s = requests.service[who]
    following = requests.next[who]
    servers.prefill_first[server] = following
    if following != NONE:
        servers.prefill_left[server] = requests.work[following]
    if servers.running[server, s] == 0:
        servers.decoding[server] += 1
        servers.made[server, s] = 0.0
    made = servers.made[server, s]
    left = max(requests.generated[who] - requests.had[who], 0.0)
    agendas.will_end(servers, server, s, made + left, who)
    servers.running[server, s] += 1
    requests.next[who] = NONE
    if not np.isnan(requests.first_s[who]):
        return
    requests.mark[who] = made + min(left, 1.0)
    if servers.fresh_first[server, s] == NONE:
        servers.fresh_first[server, s] = who
    else:
        requests.next[servers.fresh_last[server, s]] = who
    servers.fresh_last[server, s] = who


@njit(**_OPTIONS)
def first_token(servers, requests, server, service, now_s):
    """The oldest sequence without a token gets its first."""
    who = servers.fresh_first[server, service]
    # What is due is reached exactly, whatever rounding says.
    servers.made[server, service] = requests.mark[who]
    servers.fresh_first[server, service] = requests.next[who]
    requests.first_s[who] = now_s + requests.back_s[who]


@njit(**_OPTIONS)
def last_token(servers, server, service):
    """The sequence that ends leaves the batch and its place; returns its request."""
    servers.made[server, service] = servers.ends_made[servers.ends_from[server, service]]
    who = agendas.ends(servers, server, service)
    servers.running[server, service] -= 1
    servers.held[server, service] -= 1
    if servers.running[server, service] == 0:
        servers.decoding[server] -= 1
    return who


@njit(**_OPTIONS)
def leave(servers, requests, server, service):
    """The sequence that would end first leaves before its end; returns its request."""
    until = servers.ends_made[servers.ends_from[server, service]]
    left = max(until - servers.made[server, service], 0.0)
    who = agendas.ends(servers, server, service)
    servers.running[server, service] -= 1
    servers.held[server, service] -= 1
    requests.had[who] = max(requests.generated[who] - left, 0.0)
    if servers.running[server, service] == 0:
        servers.decoding[server] -= 1
        servers.fresh_first[server, service] = NONE
    return who
