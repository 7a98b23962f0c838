"""Streams that are watched on their way, and always closed: begun or not, ended or left.

An asynchronous generator that nobody has begun runs nothing when it is closed; what stands in its
`finally` is lost, and with it a place or a count. These are objects instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, Self


class Pieces(Protocol):
    """A stream that can be closed at any time."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Free what it holds; again and again does no harm."""
        ...


class Passing:
    """Passes a stream on.

    Args:
        source: closed with this.
        see: awaited with each piece before it goes out.
        end: called once: True where the source came to its end.
    """

    __slots__ = ("_end", "_ended", "_see", "_source")

    def __init__(
        self,
        source: Pieces,
        see: Callable[[bytes], Awaitable[None]],
        end: Callable[[bool], None],
    ) -> None:
        self._source, self._see, self._end = source, see, end
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._source)
            await self._see(piece)
        except StopAsyncIteration:
            self._finish(True)
            raise
        except BaseException:
            self._finish(False)
            raise
        return piece

    async def aclose(self) -> None:
        """Close the source too."""
        try:
            await self._source.aclose()
        finally:
            self._finish(False)

    def _finish(self, complete: bool) -> None:
        if not self._ended:
            self._ended = True
            self._end(complete)
