"""How many requests a gateway has at the sites of one service at once: found, not configured.

A request that finds every line full shows what the sites hold: all the others. The window becomes
that, and answers let it grow again, by one a round of answers (additive increase as in Chiu, Jain:
"Analysis of the increase and decrease algorithms for congestion avoidance", 1989), and faster where
no line was full for a while. What does not fit waits at the gateway, where sharing is fair.
"""

from __future__ import annotations

from dataclasses import dataclass

REST_S = 5.0


@dataclass(slots=True)
class Window:
    """The window of one service.

    Attributes:
        size: requests at once, 1 or more.
        largest: it grows no further.
        full_at_s: when every line was last full.
    """

    size: float
    largest: float
    full_at_s: float = float("-inf")


def note_full(window: Window, held: int, now_s: float) -> None:
    """Every line was full while sites held so many of our requests."""
    window.full_at_s = now_s
    window.size = max(1.0, min(window.size, float(held)))


def grow(window: Window, now_s: float) -> None:
    """An answer came."""
    step = 1.0 if now_s - window.full_at_s > REST_S else 1.0 / window.size
    window.size = min(window.largest, window.size + step)
