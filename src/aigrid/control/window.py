"""How many requests a gateway has at the sites of one service at once: found, not configured.

Additive increase, multiplicative decrease (Chiu, Jain: "Analysis of the increase and decrease
algorithms for congestion avoidance", 1989): a site whose line is full shrinks the window, answers
let it grow. What does not fit waits at the gateway, where sharing is fair.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST = 4.0
SHRINK = 0.9
SHRINK_EVERY_S = 0.25
REST_S = 5.0


@dataclass(slots=True)
class Window:
    """The window of one service.

    Attributes:
        size: requests at once.
        largest: it grows no further.
        shrunk_at_s: when a full line was last heeded.
    """

    size: float
    largest: float
    shrunk_at_s: float = float("-inf")


def shrink(window: Window, open_now: int, now_s: float) -> None:
    """A site's line was full while so many were open; heeded a few times a second at most."""
    if now_s - window.shrunk_at_s < SHRINK_EVERY_S:
        return
    window.shrunk_at_s = now_s
    window.size = max(SMALLEST, SHRINK * min(window.size, float(max(open_now, 1))))


def grow(window: Window, now_s: float) -> None:
    """An answer came; after a while without a full line the window grows faster."""
    step = 1.0 if now_s - window.shrunk_at_s > REST_S else 1.0 / window.size
    window.size = min(window.largest, window.size + step)
