"""Ctrl-C and SIGTERM, before and after the grid runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """What a signal does: break off the preparation, or ask the running grid to end.

    Attributes:
        asked: set by the first signal.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._breaks_off = True

    def keep_running(self) -> None:
        """From now on a signal only sets `asked`: nothing may be cut in the middle."""
        self._breaks_off = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; later signals change nothing, so that the end is orderly."""
        first = not self.asked.is_set()
        self.asked.set()
        if first and self._breaks_off:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Hear SIGINT, SIGTERM and a terminal that goes away, until the block ends."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self.hear) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
