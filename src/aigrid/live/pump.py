"""Reads an engine's chunks in tasks of their own: who waits for one can look up meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from aigrid.core.errors import AigridError, UnavailableError
from aigrid.engines.engine import Chunk

AHEAD = 16  # chunks that are read before their reader wants them
logger = logging.getLogger(__name__)


class Pump:
    """Chunks of one request's jobs, as they come.

    Args:
        choices: chunks of each choice's job.
        request_id: for the log.
    """

    __slots__ = ("_letters", "_request_id", "_tasks")

    def __init__(
        self, choices: Sequence[AsyncGenerator[Chunk, None]], request_id: str = ""
    ) -> None:
        self._request_id = request_id
        self._letters: asyncio.Queue[Chunk | AigridError] = asyncio.Queue(AHEAD)
        self._tasks = [
            asyncio.create_task(self._run(chunks, choice)) for choice, chunks in enumerate(choices)
        ]

    async def next(self, within_s: float) -> Chunk | None:
        """The next chunk; None where there is none within so many seconds.

        Raises:
            AigridError: what ended one of the jobs.
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
        """Free the jobs' places."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _run(self, chunks: AsyncGenerator[Chunk, None], choice: int) -> None:
        last: AigridError = UnavailableError("the engine ended an answer without its end")
        try:
            async for chunk in chunks:
                await self._letters.put(replace(chunk, choice=choice) if choice else chunk)
                if chunk.finish_reason is not None:
                    return
        except AigridError as error:
            last = error
        except Exception as error:  # an engine's fault must end its stream, not hang it
            logger.exception("the engine failed", extra={"request_id": self._request_id})
            last = UnavailableError(f"the engine failed: {type(error).__name__}")
        finally:
            await chunks.aclose()
        await self._letters.put(last)
