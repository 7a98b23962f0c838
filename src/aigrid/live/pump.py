"""Reads an engine's chunks in a task of its own: who waits for one can look up meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from aigrid.core.errors import AigridError, UnavailableError
from aigrid.engines.engine import Chunk

AHEAD = 16  # chunks that are read before their reader wants them
logger = logging.getLogger(__name__)


class Pump:
    """Chunks of one job.

    Args:
        chunks: of the engine.
        request_id: for the log.
    """

    __slots__ = ("_chunks", "_letters", "_request_id", "_task")

    def __init__(self, chunks: AsyncGenerator[Chunk, None], request_id: str = "") -> None:
        self._chunks, self._request_id = chunks, request_id
        self._letters: asyncio.Queue[Chunk | AigridError] = asyncio.Queue(AHEAD)
        self._task = asyncio.create_task(self._run())

    async def next(self, within_s: float) -> Chunk | None:
        """The next chunk; None where there is none within so many seconds.

        Raises:
            AigridError: what ended the job.
        """
        if self._letters.empty():
            try:
                async with asyncio.timeout(within_s):
                    letter = await self._letters.get()
            except TimeoutError:
                return None
        else:
            letter = self._letters.get_nowait()
        if isinstance(letter, AigridError):
            raise letter
        return letter

    async def close(self) -> None:
        """Free the job's place."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        last: AigridError = UnavailableError("the engine ended an answer without its end")
        try:
            async for chunk in self._chunks:
                await self._letters.put(chunk)
        except AigridError as error:
            last = error
        except Exception as error:  # an engine's fault must end its stream, not hang it
            logger.exception("the engine failed", extra={"request_id": self._request_id})
            last = UnavailableError(f"the engine failed: {type(error).__name__}")
        finally:
            await self._chunks.aclose()
        await self._letters.put(last)
