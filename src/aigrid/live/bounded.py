"""The server's side of one connection, with limits on what a client may send, hold and wait for."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aigrid.live.held_head import HeldHead
from aigrid.live.limits import Limits
from aigrid.live.presence import SCOPE_KEY, Presence

HEAD_LIMIT_BYTES = 64 * 1024
HEADERS_LIMIT = 128
_ANSWER = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedWriter(HttpToolsProtocol):
    """Cuts off a client that does not end its request, or leaves its send buffer full.

    The transport's buffer bounds what a slow reader holds here; `reader_s` bounds for how long. A
    request must be whole within `request_s`, however its bytes drip in (Slowloris), and its head
    within `HEAD_LIMIT_BYTES`: the parser keeps what it has of a head and knows no limit.
    """

    reader_s = Limits().reader_s
    request_s = Limits().request_s
    _cut: asyncio.TimerHandle | None = None
    _slow: asyncio.TimerHandle | None = None
    _whole = True
    _in_head = False
    _head_bytes = 0
    _presence: Presence

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        self._presence = Presence()
        super().connection_made(HeldHead(transport, self.loop))
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Something came; a request that is not whole now must be so in time."""
        super().data_received(data)
        if self._whole:
            cycle = self.cycle
            if (cycle is None or cycle.response_complete) and self.timeout_keep_alive_task is None:
                self._await_request()  # what came is no request: line ends between two of them
            return
        self._await_request()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope[SCOPE_KEY] = self._presence  # type: ignore[literal-required]
        self._whole, self._in_head, self._head_bytes = False, True, 0

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        if len(self.headers) > HEADERS_LIMIT:
            raise ValueError(f"over {HEADERS_LIMIT} headers")  # the parser's caller answers 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is whole."""
        super().on_message_complete()
        self._whole = True
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def pause_writing(self) -> None:
        """The buffer is full."""
        super().pause_writing()
        self._cut = self.loop.call_later(self.reader_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._forgive()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forgive()
        if self._slow is not None:
            self._slow.cancel()
        super().connection_lost(exc)
        self._presence.leave()

    def _forgive(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _await_request(self) -> None:
        if self._slow is None:
            self._slow = self.loop.call_later(self.request_s, self._too_slow)

    def _too_slow(self) -> None:
        self._slow = None
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete and not cycle.more_body
        if self.pipeline or answering:  # the answer to a request before it is under way
            self._await_request()
        else:
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        """Say so, where no answer has begun, and end the connection."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_ANSWER % status)
        self.transport.close()
