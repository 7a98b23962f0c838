"""The upstream engine: any OpenAI-compatible server, behind the same seam as the embedded one."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from aigrid.core.errors import (
    AigridError,
    ConfigurationError,
    InvalidRequestError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from aigrid.core.package import UpstreamTarget
from aigrid.engines import embeddings_api
from aigrid.engines.egress import Egress
from aigrid.engines.embedding import EmbeddingJob, Embeddings
from aigrid.engines.engine import Chunk, EngineLoad, Job
from aigrid.engines.openai_api import request_body
from aigrid.engines.openai_stream import StreamReader

LINE_LIMIT_BYTES = 1 << 20
ANSWER_LIMIT_BYTES = 64 << 20
ERROR_LIMIT_BYTES = 16 << 10
KEY_LIMIT_BYTES = 8 << 10
POLL_S = 0.02


class UpstreamEngine:
    """Streams jobs from an OpenAI-compatible server.

    Args:
        target: its address, the model's name there, and the file that holds the key.
        max_batch: requests in flight at once at full share.
        queue_limit: jobs that wait at most; one more is refused.
        connect_timeout_s: until the connection stands.
        read_timeout_s: between two pieces of an answer.
        egress: where it may connect to, and with which key; public addresses and no key for None.

    Raises:
        ConfigurationError: not an HTTP address.
        PermissionDeniedError: the target is not granted.
    """

    def __init__(
        self,
        target: UpstreamTarget,
        *,
        max_batch: int = 64,
        queue_limit: int = 256,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 60.0,
        egress: Egress | None = None,
    ) -> None:
        if not target.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"upstream base_url is {target.base_url!r}",
                next_step="give an http or https address that ends in /v1",
            )
        self._egress = egress or Egress()
        self._egress.check(target)
        self._target = target
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect_timeout_s, sock_read=read_timeout_s
        )
        self._share = 1.0
        self._may_step: Callable[[], bool] = lambda: True
        self._session: aiohttp.ClientSession | None = None
        self._responses: set[aiohttp.ClientResponse] = set()
        self._closed = False
        self._running = self._waiting = 0
        self._tokens_total = self._prompt_tokens_total = self._jobs_total = 0

    async def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Stream an answer; see `Engine.generate`.

        Raises:
            TooLargeError: a line or the whole answer is over its limit.
        """
        async with self._place():
            reader = StreamReader(chat=job.prompt is None)
            if job.times is not None:
                job.times.fill_ns = time.time_ns()
            path = "chat/completions" if job.prompt is None else "completions"
            body = json.dumps(request_body(job, self._target.model)).encode()
            async with self._post(path, body, job.traceparent) as response:
                async for line in _lines(response):
                    self._check_open()
                    for chunk in reader.feed(line):
                        yield chunk
                    if reader.done:
                        break
            last = reader.last_chunk()
            self._tokens_total += last.completion_tokens
            self._prompt_tokens_total += last.prompt_tokens
            yield last

    async def embed(self, job: EmbeddingJob) -> Embeddings:
        """The vectors of a job; see `embedding.Embedder.embed`.

        Raises:
            TooLargeError: the answer is over its limit.
        """
        async with self._place():
            if job.times is not None:
                job.times.fill_ns = time.time_ns()
            body = embeddings_api.request_body(job, self._target.model)
            async with self._post("embeddings", body, job.traceparent) as response:
                made = embeddings_api.read_answer(await _whole(response), job)
            self._check_open()
            job.progress.inputs = len(job.inputs)
            self._prompt_tokens_total += made.prompt_tokens
            return made

    def set_share(self, share: float) -> None:
        """Allow this fraction of `max_batch` requests in flight, rounded up; 0 starts no more.

        Raises:
            ConfigurationError: not within 0 to 1.
        """
        if not 0.0 <= share <= 1.0:
            raise ConfigurationError(f"share is {share!r}", next_step="give a number from 0 to 1")
        self._share = share

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """Ask before each request is sent: an upstream server's own steps are not ours to hold."""
        self._may_step = may_step

    def load(self) -> EngineLoad:
        """Gauges and counters."""
        return EngineLoad(
            self._running,
            self._waiting,
            self._tokens_total,
            self._prompt_tokens_total,
            self._jobs_total,
        )

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError."""
        self._closed = True
        for response in self._responses:
            response.close()
        if self._session is not None:
            await self._session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the engine is closed")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait in line for one of the places that the share allows."""
        self._check_open()
        if self._waiting >= self._queue_limit:
            raise OverloadedError(
                f"{self._waiting} jobs are waiting, the limit", next_step="try again later"
            )
        self._jobs_total += 1
        self._waiting += 1
        try:
            while self._running >= math.ceil(self._max_batch * self._share) or not self._may_step():
                await asyncio.sleep(POLL_S)
                self._check_open()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    @asynccontextmanager
    async def _post(
        self, path: str, body: bytes, traceparent: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._target.base_url.rstrip('/')}/{path}"
        # compressed answers are not asked for and not unpacked: a few bytes could become many
        accept = "application/json" if path == "embeddings" else "text/event-stream"
        headers = {"Accept": accept, "Accept-Encoding": "identity"} | self._authorization()
        headers["Content-Type"] = "application/json"
        if traceparent:
            headers["traceparent"] = traceparent
        try:
            async with self._open_session().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await _refusal(response, self._target)
                self._responses.add(response)
                try:
                    yield response
                finally:
                    self._responses.discard(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                f"upstream {self._target.base_url}: {reason}",
                next_step="check that the upstream server runs and can be reached",
            ) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                auto_decompress=False,
                connector=aiohttp.TCPConnector(
                    limit=self._max_batch, socket_factory=self._egress.socket
                ),
            )
        return self._session

    def _authorization(self) -> dict[str, str]:
        """The key is read anew for each job, so that it can be changed in place."""
        if not self._target.key_file:
            return {}
        self._egress.check_key(self._target)
        path = Path(self._target.key_file)
        try:
            with path.open(encoding="ascii") as file:
                key = file.read(KEY_LIMIT_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(
                f"key_file {path} cannot be read: {type(error).__name__}",
                next_step="put the upstream server's key there",
            ) from None
        if not key.isprintable():
            raise UnavailableError(
                f"key_file {path} holds more than one line", next_step="keep the key alone in it"
            )
        return {"Authorization": f"Bearer {key}"}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of a stream; each and all of them within limits."""
    buffer, total = b"", 0
    async for piece in response.content.iter_any():
        total += len(piece)
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(buffer) > LINE_LIMIT_BYTES or total > ANSWER_LIMIT_BYTES:
            raise TooLargeError(
                f"upstream sent a line of over {LINE_LIMIT_BYTES} bytes"
                if len(buffer) > LINE_LIMIT_BYTES
                else f"upstream sent over {ANSWER_LIMIT_BYTES} bytes"
            )
    if buffer:
        yield buffer.rstrip(b"\r")


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """An answer in one piece, within its limit."""
    parts, total = [], 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > ANSWER_LIMIT_BYTES:
            raise TooLargeError(f"upstream sent over {ANSWER_LIMIT_BYTES} bytes")
        parts.append(piece)
    return b"".join(parts)


async def _refusal(response: aiohttp.ClientResponse, target: UpstreamTarget) -> AigridError:
    """What an upstream status means here; its message is passed on, the key never is in it."""
    status = response.status
    where = f"upstream {target.base_url} answered {status}"
    if status in (401, 403):
        return UnavailableError(
            f"{where}: it does not accept the site's key", next_step="put the right one in key_file"
        )
    said = _message(await response.content.read(ERROR_LIMIT_BYTES))
    if status == 429:
        return OverloadedError(f"{where}: {said}", next_step="try again later")
    if status in (400, 413, 422):
        return InvalidRequestError(f"{where}: {said}")
    return UnavailableError(f"{where}: {said}", next_step="look at the upstream server")


def _message(body: bytes) -> str:
    try:
        found: Any = json.loads(body)["error"]
        found = found["message"] if isinstance(found, dict) else found
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no readable message"
    return str(found)[:200].splitlines()[0] if found else "no message"
