"""One worker thread that runs an engine: who waits in line, when it may step, how it ends."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from aigrid.core.errors import OverloadedError, UnavailableError
from aigrid.engines.meter import Meter
from aigrid.engines.pace import Pace

IDLE_WAIT_S = 1.0
CLOSE_WAIT_S = 5.0
Work = TypeVar("Work")


class Worker(ABC, Generic[Work]):
    """The line before an engine and the loop behind it; jobs are of type `Work`.

    Args:
        name: of the thread, which `_start` begins.
        places: jobs at work at once.
        queue_limit: jobs that wait at most; a burst that finds free places does not count.
    """

    def __init__(self, name: str, places: int, queue_limit: int) -> None:
        self._places, self._queue_limit = places, queue_limit
        self._pace, self._meter = Pace(), Meter(places=places)
        self._wake = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._jobs_total = 0
        self._ended: UnavailableError | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    # what an engine does, on the worker's thread but for `_running`

    @abstractmethod
    def _running(self) -> int:
        """How many jobs have left the line and have not ended; read from any thread."""

    @abstractmethod
    def _drop_abandoned(self) -> None:
        """Let go of running jobs whose readers have gone."""

    @abstractmethod
    def _step(self) -> float:
        """One round of work; when its prompts were fed, on `time.perf_counter`."""

    @abstractmethod
    def _leave(self) -> list[Work]:
        """Take all running jobs out."""

    @abstractmethod
    def _fail(self, left: list[Work], ended: UnavailableError) -> None:
        """Tell jobs that the engine has ended, each by an error of its own."""

    def _pausing(self) -> None:
        """The worker is about to rest."""

    # what others see

    def set_share(self, share: float) -> None:
        """See `Engine.set_share`."""
        self._pace.set_share(share)

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """See `Engine.set_gate`."""
        self._pace.set_gate(may_step)

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError."""
        with self._wake:
            self._ended = self._ended or UnavailableError("the engine is closed")
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_WAIT_S)

    def _start(self) -> None:
        """Begin to work; the last that a constructor does."""
        self._thread.start()

    def _enqueue(self, work: Work) -> None:
        """Join the line.

        Raises:
            OverloadedError: it is full.
            UnavailableError: the engine has ended.
        """
        with self._wake:
            if self._ended is not None:
                raise UnavailableError(self._ended.message, next_step=self._ended.next_step)
            waiting = len(self._waiting)
            if waiting + self._running() >= self._queue_limit + self._places:
                raise OverloadedError(
                    f"{waiting} jobs are waiting, the limit", next_step="try again later"
                )
            self._waiting.append(work)
            self._jobs_total += 1
            self._wake.notify()

    def _abandon(self, work: Work) -> None:
        """Leave the line, if still in it."""
        with self._wake:
            if work in self._waiting:
                self._waiting.remove(work)

    # on the worker's thread

    def _work(self) -> None:
        try:
            while self._ended is None:
                self._drop_abandoned()
                if not self._busy():
                    self._meter.idle()
                    continue
                self._meter.present()
                pause_s = self._pace.pause_s()
                if pause_s:
                    self._pausing()
                    self._pace.sleep(pause_s)
                    continue
                began_s = self._meter.begin()
                filled_s = self._step()
                self._pace.worked(self._meter.end(began_s, filled_s))
        except Exception as error:  # whatever the runtime raises must end every job, not hang it
            self._ended = UnavailableError(
                f"the engine stopped: {type(error).__name__}: {error}",
                next_step="restart the site",
            )
        self._fail_all()

    def _busy(self) -> bool:
        """Whether there is something to do; waits a while where there is not."""
        if self._running() or self._waiting:
            return True
        with self._wake:
            if not self._waiting and self._ended is None:
                self._wake.wait(IDLE_WAIT_S)
        return False

    def _next(self) -> Work | None:
        """Whoever is first in line, and leaves it."""
        with self._wake:
            return self._waiting.popleft() if self._waiting else None

    def _fail_all(self) -> None:
        with self._wake:
            ended = self._ended or UnavailableError("the engine is closed")
            left = [*self._leave(), *self._waiting]
            self._waiting.clear()
        self._fail(left, ended)
