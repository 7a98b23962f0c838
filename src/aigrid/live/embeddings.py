"""One embeddings request at a site: worked on whole, with signs of life for its gateway."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.responses import Response

from aigrid.core.errors import AigridError, InvalidRequestError, UnavailableError
from aigrid.engines import embeddings_api, openai_answers
from aigrid.engines.embedding import Embedder, EmbeddingJob, Embeddings
from aigrid.engines.embeddings_api import EmbeddingRequest
from aigrid.live import frames, server
from aigrid.live.generation import LOOK_S, MOVABLE
from aigrid.live.replicas import Replica
from aigrid.live.tracing import Span, describe

EARLY_S = 0.4
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """An embeddings request that was let in.

    Attributes:
        request: as read.
        job: that it asks for.
        replica: that does it.
        framed: whether a gateway asks, which heeds signs of life.
        must_move: says why it shall be done elsewhere; asked again and again.
        span: of the request.
        failed: the engine failed, and another may not.
    """

    request: EmbeddingRequest
    job: EmbeddingJob
    replica: Replica
    framed: bool
    must_move: Callable[[], str]
    span: Span
    failed: bool = False

    async def respond(self) -> Response:
        """The answer, at once where it is soon there; else signs of life, then the answer.

        Raises:
            AigridError: what the engine says to it at once.
        """
        work = asyncio.create_task(self._work())
        try:
            ready = await self._wait(work, EARLY_S if self.framed else math.inf)
        except BaseException:
            await _stop(work)
            raise
        if not ready:
            return server.event_stream(self._frames(work), {}, lambda: _stop(work))
        body, made = work.result()
        headers = {
            frames.USAGE_HEADER: f"{made.prompt_tokens} 0",
            frames.PACKAGE_HEADER: self.replica.digest,
        }
        return Response(body, media_type="application/json", headers=headers)

    async def _work(self) -> tuple[bytes, Embeddings]:
        """The body of the answer, and what it is made of."""
        engine = self.replica.engine
        if not isinstance(engine, Embedder):
            raise InvalidRequestError(f"model {self.request.model!r} makes no embeddings")
        made = await self._made(engine)
        # millions of digits: not on the thread that tells the grid that this site lives
        body = await asyncio.to_thread(embeddings_api.answer_body, self.request, made)
        return body, made

    async def _made(self, engine: Embedder) -> Embeddings:
        job, working, begun_ns = self.job, self.span, time.time_ns()
        if self.span.recorded:
            job, working = describe.embedding(self.span, job, self.replica.spec.name)
        tokens, fault = 0, "left"
        try:
            made = await engine.embed(job)
            tokens, fault = made.prompt_tokens, ""
            return made
        except AigridError as error:
            fault = error.code
            self.failed = error.http_status in MOVABLE and error.http_status != 429
            raise
        except Exception as error:  # an engine's fault must end its answer, not hang it
            self.failed = True
            logger.exception("the engine failed", extra={"request_id": job.job_id})
            raise UnavailableError(f"the engine failed: {type(error).__name__}") from error
        finally:
            if self.span.recorded:
                describe.embedded(working, job, begun_ns, tokens, fault)

    async def _wait(self, work: asyncio.Task[tuple[bytes, Embeddings]], within_s: float) -> bool:
        """Whether it was done within so many seconds.

        Raises:
            UnavailableError: the site wants to be rid of it.
        """
        until_s = time.monotonic() + within_s
        while not work.done() and time.monotonic() < until_s:
            if reason := self.must_move():
                raise UnavailableError(reason)
            await asyncio.wait((work,), timeout=LOOK_S)
        return work.done()

    async def _frames(self, work: asyncio.Task[tuple[bytes, Embeddings]]) -> AsyncIterator[bytes]:
        yield frames.package_line(self.replica.digest) + b"\n"
        try:
            while not await self._wait(work, EARLY_S):
                yield frames.done_line(self.job.progress.inputs) + frames.ALIVE
            body, made = work.result()
            said = frames.done_line(len(self.job.inputs))
            said += frames.tokens_line(0, made.prompt_tokens, 0, ())
            yield said + b"data: " + body + b"\n\n"
        except AigridError as error:
            if error.http_status in MOVABLE:
                yield frames.moved_block(error.message, failed=self.failed)
            else:
                yield frames.refused_block(error.http_status, openai_answers.error_body(error))


async def _stop(work: asyncio.Task[tuple[bytes, Embeddings]]) -> None:
    """Free the job's place."""
    work.cancel()
    await asyncio.wait((work,))
    if not work.cancelled():
        work.exception()  # looked at: nobody else will
