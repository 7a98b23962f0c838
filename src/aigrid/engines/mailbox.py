"""From the worker's thread to the event loop: few wake-ups, each carrying much."""

from __future__ import annotations

import asyncio
from collections import deque

from aigrid.core.errors import AigridError
from aigrid.engines.engine import Chunk

Letter = Chunk | AigridError


class Mailbox:
    """Letters for one job; filled and read on the loop's thread.

    Attributes:
        loop: where the reader waits.
        closed: the reader has gone; the worker drops the job at its next step.
    """

    __slots__ = ("_letters", "_waiter", "closed", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self._letters: deque[Letter] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, letter: Letter) -> None:
        """Leave a letter and wake the reader."""
        self._letters.append(letter)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Chunk:
        """The next chunk.

        Raises:
            AigridError: what ended the job.
        """
        while not self._letters:
            self._waiter = self.loop.create_future()
            await self._waiter
        letter = self._letters.popleft()
        if isinstance(letter, AigridError):
            raise letter
        return letter


class Outbox:
    """What the worker has to say, sent to each loop in one call."""

    def __init__(self) -> None:
        self._letters: list[tuple[Mailbox, Letter]] = []

    def add(self, box: Mailbox, letter: Letter) -> None:
        """Keep a letter until `send`."""
        self._letters.append((box, letter))

    def send(self) -> None:
        """Hand everything over; jobs whose loop has closed are dropped."""
        letters, self._letters = self._letters, []
        for loop in {box.loop for box, _ in letters}:
            ours = [(box, letter) for box, letter in letters if box.loop is loop]
            try:
                loop.call_soon_threadsafe(_deliver, ours)
            except RuntimeError:  # the loop is closed: nobody reads these any more
                for box, _ in ours:
                    box.closed = True


def _deliver(letters: list[tuple[Mailbox, Letter]]) -> None:
    for box, letter in letters:
        if not box.closed:
            box.put(letter)
