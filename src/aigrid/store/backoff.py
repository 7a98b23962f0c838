"""When to ask again something that did not answer: soon, then less and less often."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

FIRST_S = 0.1
LAST_S = 2.0


@dataclass(slots=True)
class Backoff:
    """Lets one caller at a time try something that is away; refuses the others at once.

    Attributes:
        trial_s: how long one try may take.
    """

    trial_s: float
    _pause_s: float = 0.0
    _until_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, now_s: float) -> bool:
        """Whether to try now."""
        with self._lock:
            if not self._pause_s:
                return True
            if now_s < self._until_s:
                return False
            self._until_s = now_s + self.trial_s  # others wait for the outcome of this one
            return True

    def failed(self, now_s: float) -> None:
        """It did not answer."""
        with self._lock:
            self._pause_s = min(LAST_S, 2.0 * self._pause_s or FIRST_S)
            self._until_s = now_s + self._pause_s

    def over(self) -> None:
        """It answered."""
        self._pause_s = 0.0
