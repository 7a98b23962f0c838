"""Circuit breaker of a replica: who fails is left alone for a while, then asked, then tried.

closed: takes requests. open: takes none until its time is over, then wants a probe. half-open: the
probe was answered; one request at a time, and the first that succeeds closes it. The time doubles
with every failure to recover (M. Nygard, "Release It!", 2nd ed., 2018, "Circuit Breaker").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        failures: in a row that open it; one that shows the replica out of reach opens it at once.
        open_s: the first time.
        longest_s: at most.
    """

    failures: int = 5
    open_s: float = 0.5
    longest_s: float = 16.0


@dataclass(slots=True)
class Breaker:
    """State of one replica, as one gateway sees it.

    Attributes:
        state: see above.
        failures: in a row, while closed.
        openings: in a row, without a success in between.
        until_s: when an open one wants a probe.
        trial: a half-open one has its request.
    """

    state: State = "closed"
    failures: int = 0
    openings: int = 0
    until_s: float = 0.0
    trial: bool = False


def admits(breaker: Breaker) -> bool:
    """Whether the replica may have a request now."""
    return breaker.state == "closed" or (breaker.state == "half-open" and not breaker.trial)


def begin(breaker: Breaker) -> None:
    """A request goes there."""
    breaker.trial = breaker.state == "half-open"


def succeed(breaker: Breaker) -> None:
    """A request was answered: whatever was thought of the replica, it works."""
    breaker.state, breaker.failures, breaker.openings, breaker.trial = "closed", 0, 0, False


def let_go(breaker: Breaker) -> None:
    """A request ended and says nothing of the replica: its client left, or the replica is busy."""
    breaker.trial = False


def fail(policy: BreakerPolicy, breaker: Breaker, now_s: float, *, gone: bool) -> bool:
    """A request failed.

    Args:
        policy: when it opens.
        breaker: changed in place.
        now_s: seconds on a monotonic clock.
        gone: the replica could not be reached, broke off or stayed silent.

    Returns:
        Whether the breaker has opened by it.
    """
    breaker.failures += 1
    breaker.trial = False
    if breaker.state == "open":
        return False  # an old request's failure is no news
    if breaker.state == "closed" and not gone and breaker.failures < policy.failures:
        return False
    _open(policy, breaker, now_s)
    return True


def wants_probe(breaker: Breaker, now_s: float) -> bool:
    """Whether it is time to ask an open one's replica whether it lives."""
    return breaker.state == "open" and now_s >= breaker.until_s


def probed(policy: BreakerPolicy, breaker: Breaker, now_s: float, *, lives: bool) -> None:
    """Note a probe's answer; one that was overtaken by traffic counts for nothing."""
    if breaker.state != "open":
        return
    if lives:
        breaker.state, breaker.trial = "half-open", False
    else:
        _open(policy, breaker, now_s)


def _open(policy: BreakerPolicy, breaker: Breaker, now_s: float) -> None:
    open_s = min(policy.open_s * 2.0 ** min(breaker.openings, 30), policy.longest_s)
    breaker.state, breaker.until_s = "open", now_s + open_s
    breaker.openings += 1
    breaker.failures, breaker.trial = 0, False
