"""How likely a difference of two counts is by chance alone: Fisher's exact test, with a margin."""

from __future__ import annotations

import math

# Beyond so many events in all, a test that may be looked at all the time has found what there is.
MANY = 2000


def more_often(new: int, of_new: int, old: int, of_old: int, odds: float = 1.0) -> float:
    """How likely the new side would have at least so many of all events, were it no worse.

    The distribution of `new`, given all events, where the new side's odds of one are `odds` times
    the old one's: Fisher's noncentral hypergeometric distribution (Fisher, "The logic of inductive
    inference", Journal of the Royal Statistical Society 98, 1935).

    Args:
        new: events on the new side.
        of_new: trials there.
        old: events on the old side.
        of_old: trials there.
        odds: ratio that is still no worse.

    Returns:
        probability, 0 to 1; 1 where there are more than `MANY` events.
    """
    events = new + old
    if not 0 < events <= MANY:
        return 1.0
    first, last = max(0, events - of_old), min(events, of_new)
    logs = [
        _ways(of_new, k) + _ways(of_old, events - k) + k * math.log(odds)
        for k in range(first, last + 1)
    ]
    peak = max(logs)
    weights = [math.exp(log - peak) for log in logs]
    return min(1.0, sum(weights[new - first :]) / sum(weights))


def _ways(of: int, some: int) -> float:
    """Logarithm of the number of ways to choose `some` of `of`."""
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)
