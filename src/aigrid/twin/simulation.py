"""Simulated time: what is to happen later, and what the control plane is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from aigrid.core.events import Event
from aigrid.twin.heap import EventHeap

Action = Callable[[], None]


class Simulation:
    """A clock that jumps from action to action.

    Attributes:
        now_s: simulated time since the start.
        outbox: events for the control plane, oldest first.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.outbox: deque[Event] = deque()
        self._heap: EventHeap[Action] = EventHeap()

    def after(self, delay_s: float, action: Action) -> None:
        """Let `action` happen `delay_s` from now."""
        self._heap.push(self.now_s + delay_s, action)

    def every(self, period_s: float, action: Action) -> None:
        """Let `action` happen one period from now, and again after every period."""

        def again() -> None:
            action()
            self._heap.push(self.now_s + period_s, again)

        self._heap.push(self.now_s + period_s, again)

    def post(self, event: Event) -> None:
        """Tell the control plane, now."""
        self.outbox.append(event)

    def step(self, until_s: float) -> bool:
        """Let the next action happen, if it is due by `until_s`; else let time pass up to there.

        Returns:
            whether something happened.
        """
        if self._heap.next_s() > until_s:
            self.now_s = max(self.now_s, until_s)
            return False
        self.now_s, action = self._heap.pop()
        action()
        return True
