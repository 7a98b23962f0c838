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
def travel(moving, counts, at_s, who):
    """Request `who` reaches its site at `at_s`."""
    mine = counts[TICKET]
    counts[TICKET] += 1
    place = counts[MOVING]
    counts[MOVING] += 1
    while place > 0:
        above = (place - 1) >> 1
        if moving[above].at_s <= at_s:
            break
        _put(moving, place, moving[above].at_s, moving[above].ticket, moving[above].who)
        place = above
    _put(moving, place, at_s, mine, who)


@njit(**_OPTIONS)
def _put(moving, place, at_s, ticket, who):
    entry = moving[place]
    entry.at_s = at_s
    entry.ticket = ticket
    entry.who = who


@njit(**_OPTIONS)
def reached(moving, counts):
    """Take the request that reaches its site first off the agenda."""
    who = moving[0].who
    counts[MOVING] -= 1
    size = counts[MOVING]
    at_s, mine, last = moving[size].at_s, moving[size].ticket, moving[size].who
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size:
            one, other = moving[below], moving[below + 1]
            if other.at_s < one.at_s or (other.at_s == one.at_s and other.ticket < one.ticket):
                below += 1
        next_ = moving[below]
        if at_s < next_.at_s or (at_s == next_.at_s and mine < next_.ticket):
            break
        _put(moving, place, next_.at_s, next_.ticket, next_.who)
        place = below
    _put(moving, place, at_s, mine, last)
    return who


@njit(**_OPTIONS)
def plan(servers, heap, server, due_s):
    """The next event of a server is at `due_s`."""
    before, place = servers[server].due_s, servers[server].heap_at
    servers[server].due_s = due_s
    if due_s < before:
        while place > 0:
            above = (place - 1) >> 1
            other = heap[above]
            other_s = servers[other].due_s
            if other_s < due_s or (other_s == due_s and other < server):
                break
            heap[place] = other
            servers[other].heap_at = place
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
                left_s, right_s = servers[other].due_s, servers[right].due_s
                if right_s < left_s or (right_s == left_s and right < other):
                    below += 1
                    other = right
            other_s = servers[other].due_s
            if due_s < other_s or (due_s == other_s and server < other):
                break
            heap[place] = other
            servers[other].heap_at = place
            place = below
    heap[place] = server
    servers[server].heap_at = place


@njit(**_OPTIONS)
def will_end(ends, cell, made, who):
    """A sequence ends when its batch has made so much; the batch has room."""
    start, place = cell.ends_from, cell.running
    while place > 0:
        above = (place - 1) >> 1
        if ends[start + above].made <= made:
            break
        ends[start + place].made = ends[start + above].made
        ends[start + place].who = ends[start + above].who
        place = above
    ends[start + place].made = made
    ends[start + place].who = who


@njit(**_OPTIONS)
def first_end(ends, cell):
    """Take the sequence that ends first out of a batch; `running` counts it still."""
    start, size = cell.ends_from, cell.running - 1
    who = ends[start].who
    made, last = ends[start + size].made, ends[start + size].who
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and ends[start + below + 1].made < ends[start + below].made:
            below += 1
        if made <= ends[start + below].made:
            break
        ends[start + place].made = ends[start + below].made
        ends[start + place].who = ends[start + below].who
        place = below
    ends[start + place].made = made
    ends[start + place].who = last
    return who
