"""Serving an ASGI application on a socket of its own, and bodies with a limit."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from aigrid.core.errors import (
    AigridError,
    AuthenticationError,
    ConflictError,
    InsufficientQuotaError,
    InvalidRequestError,
    TooLargeError,
)
from aigrid.engines.openai_answers import error_body
from aigrid.live.bounded import BoundedWriter
from aigrid.live.limits import Limits
from aigrid.live.metrics import ERRORS
from aigrid.live.presence import SCOPE_KEY, ClientLeftError, while_here

BACKLOG = 2048
Closer = Callable[[], Awaitable[None]]
DRAIN_S = 1
DISCARD_LIMIT_BYTES = 64 * 1024 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises:
        ConflictError: another process has the port.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConflictError(
            f"port {port} on {host} cannot be used: {error.strerror}",
            next_step="choose another with --port",
        ) from error
    return bound


class NotifiedServer(uvicorn.Server):
    """Tells the application that the end has come before connections are drained."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: Any) -> None:
        """First thing after SIGTERM."""
        self._on_exit()
        super().handle_exit(sig, frame)


async def serve(
    app: Any,
    bound: socket.socket,
    on_exit: Callable[[], None] = lambda: None,
    limits: Limits | None = None,
) -> None:
    """Serve until SIGTERM, then drain for at most `DRAIN_S` seconds.

    Args:
        app: the ASGI application.
        bound: from `listen`.
        on_exit: called at SIGTERM, so that long polls can be answered at once.
        limits: how long a client may take to send a request, and to read an answer.
    """
    if limits is not None:  # a process serves one application
        BoundedWriter.reader_s, BoundedWriter.request_s = limits.reader_s, limits.request_s
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedWriter,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=60,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    await NotifiedServer(config, on_exit).serve(sockets=[bound])


def run(main: Any) -> None:
    """Run a coroutine on uvloop; Ctrl-C is the supervisor's business."""
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(main)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body.

    A body over the limit is not kept, but read to its end as far as `DISCARD_LIMIT_BYTES`: a
    client that is still sending would otherwise see a broken connection instead of the answer.

    Raises:
        TooLargeError: it is longer than the limit.
        InvalidRequestError: the client left before its end.
    """
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= limit_bytes:
                parts.append(part)
            elif size > DISCARD_LIMIT_BYTES:
                break
    except ClientDisconnect as error:
        raise InvalidRequestError("the client left before its request was whole") from error
    if size > limit_bytes:
        raise body_too_large(size, limit_bytes)
    return b"".join(parts)


def body_too_large(size: int, limit_bytes: int) -> TooLargeError:
    """The error for a body over its limit."""
    return TooLargeError(
        f"request body has {size} bytes or more, the limit is {limit_bytes}",
        next_step="send a shorter prompt",
    )


def bearer(request: Request) -> str:
    """The bearer token of a request, or an empty string; no token of ours is but ASCII."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.isascii() else ""


def refuse(request: Request, error: Exception) -> Response:
    """Any AigridError as an OpenAI-style answer; a Starlette exception handler."""
    shown = error if isinstance(error, AigridError) else AigridError("internal error")
    ERRORS.labels(shown.code).inc()
    headers = {}
    if shown.http_status in (429, 503):
        headers["retry-after"] = str(math.ceil(getattr(shown, "retry_after_s", 1.0)))
    if isinstance(shown, InsufficientQuotaError):
        headers["x-should-retry"] = "false"  # OpenAI's clients heed it
    if isinstance(shown, AuthenticationError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(shown, TooLargeError):
        headers["connection"] = "close"
    return Response(
        error_body(shown),
        status_code=shown.http_status,
        media_type="application/json",
        headers=headers,
    )


class DirectApp(Starlette):
    """An application whose busiest paths do not go through middleware and router.

    Attributes:
        direct: handlers of POST, by path; the rest are routes like any other.
    """

    direct: dict[str, Callable[[Request], Awaitable[Response]]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        handler = None
        if scope["type"] == "http" and scope["method"] == "POST":
            handler = self.direct.get(scope["path"])
        if handler is None:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await handler(request)
        except AigridError as error:
            response = refuse(request, error)
        await response(scope, receive, send)


class _EventStream(StreamingResponse):
    """Closes what it sends from, so that a place is freed as soon as its client has left."""

    def __init__(
        self, pieces: AsyncIterator[bytes], headers: Mapping[str, str], close: Closer
    ) -> None:
        super().__init__(pieces, media_type="text/event-stream", headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if SCOPE_KEY in scope:
                with suppress(ClientLeftError):  # what it left is closed below
                    await while_here(scope, self.stream_response(send))
            else:
                await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()


def event_stream(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], close: Closer
) -> Response:
    """Server-sent events.

    Args:
        pieces: whole events.
        headers: of the response.
        close: awaited at the end, also where `pieces` was never begun.
    """
    return _EventStream(pieces, {"cache-control": "no-cache", **headers}, close)


async def every(period_s: float, action: Callable[[], Any]) -> None:
    """Await `action()` again and again, `period_s` apart; errors of the grid's own kind pass."""
    while True:
        try:
            await action()
        except AigridError:
            await asyncio.sleep(period_s)
        await asyncio.sleep(period_s)
