"""A transport that sends the head of an answer together with what follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_HEAD = b"HTTP/1.1 2"
JOIN_LIMIT_BYTES = 64 * 1024


class HeldHead(asyncio.Transport):
    """Passes everything on; a head waits for its body, no longer than this turn of the loop.

    The server writes both apart; each write is a system call, and a packet to the client.

    Args:
        transport: of the connection.
        loop: that serves it.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""
        self.abort = transport.abort  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport."""
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Of the transport."""
        self._transport.set_protocol(protocol)

    def write(self, data: Any) -> None:
        """Send, or hold a head back for a moment."""
        head = self._head
        if head:
            self._head = b""
            if len(data) <= JOIN_LIMIT_BYTES:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send several."""
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()
