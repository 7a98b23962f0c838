"""Admission and choice, request by request: pure, called by gateways and sites.

Plain Python, so that gateways and sites start without a compiler; `control.compiled` makes the very
same source callable from compiled code.
"""

from __future__ import annotations

from collections.abc import Sequence


def admit(
    running: int, waiting: int, queue_limit: int, share: float, next_share: float = 1.0
) -> str:
    """Whether a site takes one more job.

    Args:
        running: jobs that take steps.
        waiting: jobs in line.
        queue_limit: longest line.
        share: compute that the radio leaves to AI, 0 to 1.
        next_share: what the share is to fall to soon; 1 for no notice. A site that is to lose its
            share takes no job that would outlive it.

    Returns:
        `""` to take it, else the reason: `paused` (no share, and nothing would move) or `full`.
    """
    if min(share, next_share) <= 0.0:
        return "paused"
    if waiting >= queue_limit:
        return "full"
    return ""


def price(weight: float, in_flight: int) -> float:
    """What a gateway compares candidates by: the lowest is asked first.

    Args:
        weight: of the routing table, positive.
        in_flight: requests that this gateway has open there.
    """
    return (in_flight + 1) / weight


def order(weights: Sequence[float], in_flight: Sequence[int]) -> list[int]:
    """The order in which to try candidates: the least loaded for its weight first.

    Deterministic, and it does not herd: each request sent raises the next one's price there. With
    n requests in flight each candidate holds about n times its weight, as weighted round-robin
    would give, but it also notices who is slow.

    Args:
        weights: of the routing table, best first; positive.
        in_flight: requests that this gateway has open at each candidate.

    Returns:
        indices into `weights`; ties go to the earlier candidate.
    """
    # Sorting by insertion: candidates are few, and compiled code can do it too.
    prices = [price(weights[at], in_flight[at]) for at in range(len(weights))]
    found = list(range(len(prices)))
    for place in range(1, len(found)):
        here = found[place]
        before = place
        while before > 0 and prices[found[before - 1]] > prices[here]:
            found[before] = found[before - 1]
            before -= 1
        found[before] = here
    return found
