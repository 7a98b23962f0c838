"""Where an engine's time goes, round by round: counters that a worker writes and anybody reads."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from aigrid.engines.engine import EngineTimes

_THREAD_CLOCK = 6  # CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED, linux/posix-timers.h


@dataclass(slots=True)
class Meter(EngineTimes):
    """The counters, and how the worker keeps them."""

    _left_s: float = 0.0
    _fed: int = 0

    def look(self, worker: threading.Thread) -> None:
        """Read the worker's processor clock, from any thread; one that ended keeps its last."""
        if worker.native_id is not None:
            # pthread_getcpuclockid(3) may crash where a thread has ended; the kernel's id does not.
            clock = (~worker.native_id << 3) | _THREAD_CLOCK
            with suppress(OSError):
                self.cpu_s = time.clock_gettime(clock)

    def idle(self) -> None:
        """There is nothing to do: what passes now is no pause."""
        self._left_s = 0.0

    def begin(self) -> float:
        """A round begins; returns the time."""
        now_s = time.perf_counter()
        if self._left_s:
            self.paused_s += now_s - self._left_s
        return now_s

    def present(self) -> None:
        """There is work; from here until the next round begins is a pause."""
        if not self._left_s:
            self._left_s = time.perf_counter()

    def end(self, began_s: float, filled_s: float) -> float:
        """A round ends that fed prompts until `filled_s`; returns how long it took."""
        now_s = time.perf_counter()
        if self.pieces != self._fed:
            self.fill_s += filled_s - began_s
            self.decode_s += now_s - filled_s
            self._fed = self.pieces
        else:
            self.decode_s += now_s - began_s
        self.rounds += 1
        self._left_s = now_s
        return now_s - began_s
