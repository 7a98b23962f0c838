"""Turns at the sites of one service: at once while there is room, else in fair order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aigrid.control import fair, window
from aigrid.control.fair import FairQueue, Item
from aigrid.control.window import Window
from aigrid.core.errors import OverloadedError
from aigrid.core.tenancy import PRIORITIES, Tenant


@dataclass(slots=True)
class Turnstile:
    """Lets the requests for one service through.

    Attributes:
        service: its name.
        largest: requests at its sites at once, at most.
        line: requests that wait, at most; beyond, the lowest class is shed.
        wait_s: how long one waits at most.
        clock_s: monotonic.
        open: requests at its sites.
        shed: requests that gave way.
    """

    service: str
    largest: int
    line: int
    wait_s: float
    clock_s: Callable[[], float] = time.monotonic
    open: int = 0
    shed: int = 0
    queue: FairQueue = field(default_factory=FairQueue)
    window: Window = field(init=False)
    _waiters: dict[Item, asyncio.Future[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.window = Window(float(self.largest), float(self.largest))

    async def enter(self, tenant: Tenant, cost: float) -> Item:
        """Wait for a turn.

        Args:
            tenant: whose request.
            cost: tokens that it may take.

        Raises:
            OverloadedError: the line is full and others go before, or the turn does not come.
        """
        rank = PRIORITIES.index(tenant.priority)
        new = fair.item(self.queue, tenant.name, tenant.fair_weight, rank, max(cost, 1.0))
        if not self.queue.waiting and self.open < int(self.window.size):
            fair.begin(self.queue, new)
            self.open += 1
            return new
        self._line_up(new)
        await self._wait(new, self.wait_s)
        return new

    async def again(self, item: Item, pause_s: float, within_s: float) -> None:
        """Every site's line was full: give the turn back, and wait for another.

        Args:
            item: that had a turn.
            pause_s: before it is in line again.
            within_s: it waits so long in all.

        Raises:
            OverloadedError: see `enter`.
        """
        self.open -= 1
        window.note_full(self.window, self.open, self.clock_s())
        await asyncio.sleep(pause_s)
        if not self.queue.waiting and self.open < int(self.window.size):
            self.open += 1
            return
        fair.rejoin(self.queue, item)
        self._waiters[item] = asyncio.get_running_loop().create_future()
        await self._wait(item, max(0.0, within_s - pause_s))

    async def _wait(self, item: Item, within_s: float) -> None:
        turn = self._waiters[item]
        try:
            async with asyncio.timeout(within_s):
                await turn
        except BaseException as error:
            self._step_out(item, turn)
            if isinstance(error, TimeoutError):
                raise self._refusal(f"no turn within {self.wait_s:.0f} s") from error
            raise

    def _line_up(self, new: Item) -> None:
        if self.queue.waiting >= self.line:
            self.shed += 1
            victim = fair.shed(self.queue, new)
            error = self._refusal(f"{self.line} requests wait, and others go before")
            if victim is new:
                raise error
            waiter = self._waiters.pop(victim)
            if not waiter.done():
                waiter.set_exception(error)
        fair.join(self.queue, new)
        self._waiters[new] = asyncio.get_running_loop().create_future()

    def _step_out(self, new: Item, turn: asyncio.Future[None]) -> None:
        """Somebody waits no longer; a turn that was given in the same moment is passed on."""
        if self._waiters.pop(new, None) is not None:
            fair.leave(self.queue, new)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(new, 0.0)

    def _refusal(self, why: str) -> OverloadedError:
        return OverloadedError(
            f"model {self.service!r} is overloaded: {why}", next_step="try again in a moment"
        )

    def leave(self, done: Item, used: float) -> None:
        """A request has ended, having taken `used` tokens."""
        self.open -= 1
        fair.correct(self.queue, done, used)
        window.grow(self.window, self.clock_s())
        self._serve()

    def _serve(self) -> None:
        while self.open < int(self.window.size) and (chosen := fair.pop(self.queue)) is not None:
            waiter = self._waiters.pop(chosen, None)
            if waiter is not None and not waiter.done():
                self.open += 1
                waiter.set_result(None)
