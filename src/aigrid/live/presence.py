"""Whether a client is still there: work for one that has left is given up at once.

ASGI tells it to whoever awaits `receive()`, which takes a task of its own beside every request. The
connection knows it first: it keeps the tasks that work for its client, and cancels them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from aigrid.core.errors import UnavailableError

SCOPE_KEY = "aigrid.presence"
T = TypeVar("T")


class ClientLeftError(UnavailableError):
    """The client hung up."""

    def __init__(self) -> None:
        super().__init__("the client left before the answer", next_step="send it again")


class Presence:
    """The client of one connection.

    Attributes:
        left: it is gone.
    """

    __slots__ = ("_tasks", "left")

    def __init__(self) -> None:
        self.left = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def leave(self) -> None:
        """It has gone; what works for it ends."""
        self.left = True
        for task in self._tasks:
            task.cancel()

    async def while_here(self, work: Awaitable[T]) -> T:
        """Await `work` in this task, unless the client leaves first.

        Raises:
            ClientLeftError: it has.
        """
        task = asyncio.current_task()
        assert task is not None
        if self.left:
            if asyncio.iscoroutine(work):
                work.close()
            raise ClientLeftError
        self._tasks.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            self._judge(task)
            raise
        finally:
            self._tasks.discard(task)

    def _judge(self, task: asyncio.Task[Any]) -> None:
        """Whether a task was cancelled for this, or for another reason as well."""
        if self.left and not task.uncancel():
            raise ClientLeftError from None


async def while_here(scope: Any, work: Awaitable[T]) -> T:
    """Await `work` for the client of an ASGI scope; to its end where the server is not ours.

    Raises:
        ClientLeftError: the client left first.
    """
    presence: Presence | None = scope.get(SCOPE_KEY)
    return await (work if presence is None else presence.while_here(work))
