# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Binary heaps in arrays (Williams, "Heapsort", CACM 1964): what happens next.

Ties go to the lower ticket, server or request, so that the order of events depends on nothing else.
These are compiled into `events.advance` and are not cached on their own.
"""

from __future__ import annotations

from numba import njit

from aigrid.twin.region.columns import MOVING, TICKET

_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def travel(agenda, counts, at_s, who):
    """Request `who` reaches its site at `at_s`."""
    arrive_s, ticket, held = agenda.arrive_s, agenda.ticket, agenda.who
    mine = counts[TICKET]
    counts[TICKET] += 1
    place = counts[MOVING]
    counts[MOVING] += 1
    while place > 0:
        above = (place - 1) >> 1
        if arrive_s[above] <= at_s:
            break
        arrive_s[place], ticket[place], held[place] = arrive_s[above], ticket[above], held[above]
        place = above
    arrive_s[place], ticket[place], held[place] = at_s, mine, who


@njit(**_OPTIONS)
def reached(agenda, counts):
    """Take the request that reaches its site first off the agenda."""
    arrive_s, ticket, held = agenda.arrive_s, agenda.ticket, agenda.who
    who = held[0]
    counts[MOVING] -= 1
    size = counts[MOVING]
    at_s, mine, last = arrive_s[size], ticket[size], held[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and (
            arrive_s[other] < arrive_s[below]
            or (arrive_s[other] == arrive_s[below] and ticket[other] < ticket[below])
        ):
            below = other
        if at_s < arrive_s[below] or (at_s == arrive_s[below] and mine < ticket[below]):
            break
        arrive_s[place], ticket[place], held[place] = arrive_s[below], ticket[below], held[below]
        place = below
    arrive_s[place], ticket[place], held[place] = at_s, mine, last
    return who


@njit(**_OPTIONS)
def plan(agenda, server, due_s):
    """The next event of a server is at `due_s`."""
    due, heap, where = agenda.due_s, agenda.heap, agenda.place
    before, place = due[server], where[server]
    due[server] = due_s
    if due_s < before:
        while place > 0:
            above = (place - 1) >> 1
            other = heap[above]
            if due[other] < due_s or (due[other] == due_s and other < server):
                break
            heap[place] = other
            where[other] = place
            place = above
    elif due_s > before:
        size = len(heap)
        while True:
            below = 2 * place + 1
            if below >= size:
                break
            other = heap[below]
            if below + 1 < size:
                right = heap[below + 1]
                if due[right] < due[other] or (due[right] == due[other] and right < other):
                    below += 1
                    other = right
            if due_s < due[other] or (due_s == due[other] and server < other):
                break
            heap[place] = other
            where[other] = place
            place = below
    heap[place] = server
    where[server] = place


@njit(**_OPTIONS)
def will_end(servers, server, service, made, who):
    """A sequence ends when its batch has made so much; the batch has room."""
    start, place = servers.ends_from[server, service], servers.running[server, service]
    keys, held = servers.ends_made, servers.ends_who
    while place > 0:
        above = (place - 1) >> 1
        if keys[start + above] <= made:
            break
        keys[start + place], held[start + place] = keys[start + above], held[start + above]
        place = above
    keys[start + place], held[start + place] = made, who


@njit(**_OPTIONS)
def ends(servers, server, service):
    """Take the sequence that ends first out of a batch; `running` counts it still."""
    start, size = servers.ends_from[server, service], servers.running[server, service] - 1
    keys, held = servers.ends_made, servers.ends_who
    who = held[start]
    made, last = keys[start + size], held[start + size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and keys[start + below + 1] < keys[start + below]:
            below += 1
        if made <= keys[start + below]:
            break
        keys[start + place], held[start + place] = keys[start + below], held[start + below]
        place = below
    keys[start + place], held[start + place] = made, last
    return who
