"""The seam between deciding and acting: a `World` has a clock, events and hands.

`twin` implements it with a heap of events and a clock that jumps; `live` with sockets and a clock
that flows. `drive` is the only loop there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from aigrid.control.orchestrator import Orchestrator
from aigrid.core.events import Command, Event


class Timed(NamedTuple):
    """An event and when it happened, in seconds on the world's clock."""

    now_s: float
    event: Event


class World(Protocol):
    """What drives an orchestrator."""

    def next_event(self) -> Timed | None:
        """The next event; waits for it (live) or jumps to it (twin). None: the world has ended."""
        ...

    def carry_out(self, now_s: float, commands: Sequence[Command]) -> None:
        """Act on commands."""
        ...


Recorder = Callable[[Timed, Sequence[Command]], None]


def drive(orchestrator: Orchestrator, world: World, record: Recorder | None = None) -> int:
    """Feed a world's events to the orchestrator and its commands back, until the world ends.

    The record is made before the commands are carried out, so that a crash leaves the event that
    led to it on file.

    Returns:
        the number of events handled.
    """
    handled = 0
    while (timed := world.next_event()) is not None:
        commands = orchestrator.handle(timed.now_s, timed.event)
        if record is not None:
            record(timed, commands)
        world.carry_out(timed.now_s, commands)
        handled += 1
    return handled
