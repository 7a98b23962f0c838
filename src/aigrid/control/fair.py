"""Fair sharing of a service's capacity between tenants that together want more.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996). A tenant's
next item has as start tag the virtual time at which its last one ends; the smallest tag goes next,
and virtual time is the tag of what went last. While two tenants have items in line, what they got
differs, each divided by its weight, by one item of each at most; nobody starves, nobody saves up.

When the line is full, the lowest class gives way, and in it whoever waits most for its weight.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """Something in line.

    Attributes:
        tenant: whose.
        weight: the tenant's.
        rank: of its class; the largest is shed first.
        cost: what it will take, above 0.
        number: in the order of arrival.
    """

    tenant: str
    weight: float
    rank: int
    cost: float
    number: int


@dataclass(slots=True)
class FairQueue:
    """Who waits, and what everybody had.

    Attributes:
        virtual: time, in cost by weight.
        ends: of each tenant's last item, in virtual time; of all tenants that ever came.
        lines: of items, a tenant each, none of them empty.
        waiting: items in line.
        arrivals: items that ever came.
    """

    virtual: float = 0.0
    ends: dict[str, float] = field(default_factory=dict)
    lines: dict[str, deque[Item]] = field(default_factory=dict)
    waiting: int = 0
    arrivals: int = 0


def item(queue: FairQueue, tenant: str, weight: float, rank: int, cost: float) -> Item:
    """A new item, not yet in line."""
    queue.arrivals += 1
    return Item(tenant, weight, rank, cost, queue.arrivals)


def join(queue: FairQueue, new: Item) -> None:
    """Put an item at the end of its tenant's line."""
    queue.lines.setdefault(new.tenant, deque()).append(new)
    queue.waiting += 1


def rejoin(queue: FairQueue, back: Item) -> None:
    """Put an item that had its turn in vain before all others of its tenant, as if it had had none.

    Its time in between is not made up for.
    """
    correct(queue, back, 0.0)
    queue.lines.setdefault(back.tenant, deque()).appendleft(back)
    queue.waiting += 1


def leave(queue: FairQueue, gone: Item) -> None:
    """Take an item out that waits no longer; one that is not in line is no error."""
    line = queue.lines.get(gone.tenant)
    if line is not None and gone in line:
        line.remove(gone)
        _out(queue, gone.tenant, line)


def begin(queue: FairQueue, chosen: Item) -> None:
    """An item gets its turn."""
    start = max(queue.virtual, queue.ends.get(chosen.tenant, 0.0))
    queue.virtual = start
    queue.ends[chosen.tenant] = start + chosen.cost / chosen.weight


def pop(queue: FairQueue) -> Item | None:
    """Give the next item its turn, if any waits."""
    if not queue.lines:
        return None
    virtual, ends = queue.virtual, queue.ends
    chosen = min(
        (line[0] for line in queue.lines.values()),
        key=lambda head: (max(virtual, ends.get(head.tenant, 0.0)), head.number),
    )
    line = queue.lines[chosen.tenant]
    line.popleft()
    _out(queue, chosen.tenant, line)
    begin(queue, chosen)
    return chosen


def correct(queue: FairQueue, done: Item, used: float) -> None:
    """The truth about an item's cost."""
    if done.tenant in queue.ends:
        queue.ends[done.tenant] += (used - done.cost) / done.weight


def shed(queue: FairQueue, new: Item) -> Item:
    """Who gives way for a new item in a full line: one that waits, taken out; or the new one."""
    counts = {name: len(line) for name, line in queue.lines.items()}
    counts[new.tenant] = counts.get(new.tenant, 0) + 1
    newest = {name: line[-1] for name, line in queue.lines.items()} | {new.tenant: new}
    victim = max(
        newest.values(),
        key=lambda last: (last.rank, counts[last.tenant] / last.weight, last.number),
    )
    if victim is not new:
        leave(queue, victim)
    return victim


def _out(queue: FairQueue, tenant: str, line: deque[Item]) -> None:
    queue.waiting -= 1
    if not line:
        del queue.lines[tenant]
