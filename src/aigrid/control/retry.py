"""How often a gateway may retry: a share of its requests, from a stock, and a trickle always.

Retries beyond wait instead of being lost: a storm of them must not keep down what has just come up
(budget as in Finagle's `RetryBudget`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What fills the stock.

    Attributes:
        share: retries earned by one request.
        burst: the stock holds so many at most.
        per_s: retries earned by a second.
    """

    share: float = 0.2
    burst: int = 256
    per_s: float = 50.0


@dataclass(slots=True)
class RetryBudget:
    """The stock.

    Attributes:
        stock: retries that may be made now.
        at_s: when it was reckoned.
    """

    stock: float
    at_s: float


def earn(policy: RetryPolicy, budget: RetryBudget) -> None:
    """A request came."""
    budget.stock = min(float(policy.burst), budget.stock + policy.share)


def take(policy: RetryPolicy, budget: RetryBudget, now_s: float) -> float:
    """Take one retry out.

    Returns:
        0, or seconds to wait before one asks again: nothing was taken then.
    """
    grown = max(0.0, now_s - budget.at_s) * policy.per_s
    budget.stock = min(float(policy.burst), budget.stock + grown)
    budget.at_s = max(now_s, budget.at_s)
    if budget.stock >= 1.0:
        budget.stock -= 1.0
        return 0.0
    return (1.0 - budget.stock) / policy.per_s


def pause_s(rounds: int, first_s: float = 0.05, longest_s: float = 1.0) -> float:
    """How long to wait after so many vain rounds over all candidates."""
    return min(longest_s, first_s * 2.0 ** min(rounds, 20))
