"""A span around each request that an ASGI application serves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aigrid.live.tracing import SCOPE_KEY, Attributes, Span, Telemetry

if TYPE_CHECKING:
    from aigrid.live.tracing.tracer import ProcessTracer

CONTEXT_HEADERS = (b"traceparent", b"tracestate")
CONTEXT_LIMIT_BYTES = 512


def tracer_of(
    telemetry: Telemetry, process: str, instance: str, *, at_the_door: bool
) -> ProcessTracer | None:
    """A tracer, which takes memory and a thread; None where tracing is off."""
    if not telemetry.endpoint:
        return None
    from aigrid.live.tracing.tracer import ProcessTracer

    return ProcessTracer(telemetry, process, instance, at_the_door=at_the_door)


def traced(app: ASGIApp, tracer: ProcessTracer | None) -> ASGIApp:
    """The application, with a span around each of its POST requests; itself where tracing is off.

    Args:
        app: finds the span with `tracing.of(scope)`.
        tracer: makes the spans.
    """
    return app if tracer is None else _Traced(app, tracer)


class _Traced:
    def __init__(self, app: ASGIApp, tracer: ProcessTracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        span = self._tracer.serve("POST", _context(scope), _asked(scope))
        scope[SCOPE_KEY] = span
        if not span.recorded:
            await self._app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with span:
            try:
                await self._app(scope, receive, watched)
            finally:
                _tell(span, scope["path"], status)


def _context(scope: Scope) -> dict[str, str]:
    """The caller's trace context; nothing where it is not plain text, or too long."""
    found = {}
    for name, value in scope["headers"]:
        if name in CONTEXT_HEADERS and len(value) <= CONTEXT_LIMIT_BYTES:
            with suppress(UnicodeDecodeError):
                found[name.decode()] = value.decode("ascii")
    return found


def _asked(scope: Scope) -> Attributes:
    return {
        "http.request.method": "POST",
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
    }


def _tell(span: Span, path: str, status: int) -> None:
    if not status:
        span.fail("client_left")
        return
    span.set({"http.response.status_code": status})
    if status != 404:  # a path that is none is no route, and no name of a span
        span.set({"http.route": path})
        span.name(f"POST {path}")
    if status >= 500:
        span.fail(str(status))
