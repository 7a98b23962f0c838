"""The live world: events come from sockets, time flows, commands land on the board."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aigrid.control.world import Timed
from aigrid.core.errors import OverloadedError
from aigrid.core.events import Command, Event, Tick
from aigrid.live.board import Board

QUEUE_LIMIT = 10_000
TICK_S = 0.25


class _Posted(NamedTuple):
    event: Event
    done: Callable[[], None] | None


class LiveWorld:
    """Drives the orchestrator in a thread of its own (see `control.world.drive`).

    Args:
        board: where commands go.
        clock: seconds that never go back; `time.monotonic` outside tests.
    """

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self.board = board
        self._clock = clock
        self._posted: queue.Queue[_Posted | None] = queue.Queue(QUEUE_LIMIT)
        self._next_tick_s = clock()
        self._current: _Posted | None = None
        self._ended = threading.Event()

    def post(self, event: Event, done: Callable[[], None] | None = None) -> None:
        """Hand in an event from any thread; `done` is called once its commands are on the board.

        Raises:
            OverloadedError: the line is full.
        """
        try:
            self._posted.put_nowait(_Posted(event, done))
        except queue.Full as error:
            raise OverloadedError(
                f"control plane has {QUEUE_LIMIT} events in line", next_step="try again"
            ) from error

    def now_s(self) -> float:
        """Time on the clock of the events."""
        return self._clock()

    def end(self) -> None:
        """Let `drive` return after the event in hand."""
        self._ended.set()
        if not self._posted.full():
            self._posted.put_nowait(None)

    def next_event(self) -> Timed | None:
        """The next posted event, or a tick when one is due."""
        while not self._ended.is_set():
            now_s = self._clock()
            if now_s >= self._next_tick_s:
                self._next_tick_s = now_s + TICK_S
                self._current = None
                return Timed(now_s, Tick())
            try:
                posted = self._posted.get(timeout=self._next_tick_s - now_s)
            except queue.Empty:
                continue
            if posted is not None:
                self._current = posted
                return Timed(self._clock(), posted.event)
        return None

    def carry_out(self, now_s: float, commands: Sequence[Command]) -> None:
        """Put commands on the board, then tell whoever posted the event."""
        self.board.carry_out(commands)
        if self._current is not None and self._current.done is not None:
            self._current.done()
