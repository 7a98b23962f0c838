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

from aigrid.twin.region import agenda
from aigrid.twin.region.columns import NONE

PREFILL_ENDS, FIRST_TOKEN, LAST_TOKEN = range(3)
_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def settle(server, cells, now_s):
    """Work out how far a server is now; `cells` are its own."""
    elapsed = now_s - server.at_s
    server.at_s = now_s
    if elapsed <= 0.0:
        return
    work = elapsed * server.speed
    in_prefill = server.prefill_first != NONE
    if in_prefill:
        server.busy_s += work
        server.prefill_left -= work
    elif server.decoding > 0:
        server.busy_s += work
    for s in range(len(cells)):
        cell = cells[s]
        if cell.waiting > 0:
            cell.line_s += elapsed * cell.waiting
        if cell.running > 0 and not in_prefill:
            cell.made += work / server.decoding / step_s(cell)


@njit(**_OPTIONS)
def step_s(cell):
    """Device seconds of one step of the batch as it is."""
    return cell.step_fixed_s + cell.running * cell.step_each_s


@njit(**_OPTIONS)
def due(server, cells, requests, ends):
    """When something happens next on a server that is settled; what, is written down."""
    due_s = np.inf
    if server.speed > 0.0 and server.prefill_first != NONE:
        server.due_kind = PREFILL_ENDS
        due_s = server.at_s + max(server.prefill_left, 0.0) / server.speed
    elif server.speed > 0.0 and server.decoding > 0:
        soonest = np.inf
        for s in range(len(cells)):
            cell = cells[s]
            if cell.running > 0:
                until, kind = ends[cell.ends_from].made, LAST_TOKEN
                if cell.fresh_first != NONE and requests[cell.fresh_first].mark <= until:
                    until, kind = requests[cell.fresh_first].mark, FIRST_TOKEN
                work = max(until - cell.made, 0.0) * step_s(cell)
                if work < soonest:
                    soonest = work
                    server.due_kind = kind
                    server.due_service = s
        due_s = server.at_s + soonest * server.decoding / server.speed
    return due_s


@njit(**_OPTIONS)
def take_place(server, cell, requests, who):
    """A request takes a place, and its prefill comes after those that are there."""
    cell.held += 1
    requests[who].next = NONE
    if server.prefill_first == NONE:
        server.prefill_first = who
        server.prefill_left = requests[who].work
    else:
        requests[server.prefill_last].next = who
    server.prefill_last = who


@njit(**_OPTIONS)
def stand_in_line(cell, requests, who):
    """A request waits for a place."""
    requests[who].next = NONE
    if cell.line_first == NONE:
        cell.line_first = who
    else:
        requests[cell.line_last].next = who
    cell.line_last = who
    cell.waiting += 1
    cell.longest = max(cell.longest, cell.waiting)


@njit(**_OPTIONS)
def leave_line(cell, requests):
    """The head of a line leaves it."""
    who = cell.line_first
    cell.line_first = requests[who].next
    cell.waiting -= 1
    return who


@njit(**_OPTIONS)
def prefill_ends(server, cells, requests, ends):
    """The prefill in hand is done: its request joins the batch."""
    who = server.prefill_first
    request = requests[who]
    following = request.next
    server.prefill_first = following
    if following != NONE:
        server.prefill_left = requests[following].work
    cell = cells[request.service]
    if cell.running == 0:
        server.decoding += 1
        cell.made = 0.0
    left = max(request.generated - request.had, 0.0)
    agenda.will_end(ends, cell, cell.made + left, who)
    cell.running += 1
    request.next = NONE
    if not np.isnan(request.first_s):
        return
    # Everybody is a token away from the first one, so that who came first has it first.
    request.mark = cell.made + 1.0
    if cell.fresh_first == NONE:
        cell.fresh_first = who
    else:
        requests[cell.fresh_last].next = who
    cell.fresh_last = who


@njit(**_OPTIONS)
def first_token(cell, requests, now_s):
    """The oldest sequence without a token gets its first."""
    request = requests[cell.fresh_first]
    # What is due is reached exactly, whatever rounding says.
    cell.made = request.mark
    cell.fresh_first = request.next
    request.first_s = now_s + request.back_s


@njit(**_OPTIONS)
def last_token(server, cell, ends):
    """The sequence that ends leaves the batch and its place; returns its request."""
    cell.made = ends[cell.ends_from].made
    return _take_out(server, cell, ends)


@njit(**_OPTIONS)
def break_off(server, cell, requests, ends):
    """The sequence that would end first leaves before its end; returns its request."""
    left = max(ends[cell.ends_from].made - cell.made, 0.0)
    who = _take_out(server, cell, ends)
    # Part of a token is nothing: it is made again elsewhere.
    requests[who].had = max(np.floor(requests[who].generated - left), 0.0)
    if cell.running == 0:
        cell.fresh_first = NONE
    return who


@njit(**_OPTIONS)
def _take_out(server, cell, ends):
    who = agenda.first_end(ends, cell)
    cell.running -= 1
    cell.held -= 1
    if cell.running == 0:
        server.decoding -= 1
    return who
