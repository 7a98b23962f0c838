"""HTTP/1.1 to sites: one POST at a time over kept connections, and nothing else.

A gateway spends most of a request's time in its HTTP client, see decision 0205. This one sends a
head and a body, and reads an answer as it comes: no redirects, cookies, compression or proxies; the
parser is Node's (llhttp, through `httptools`). Silence is found by one look over all connections,
ten times a second, instead of a timer a request.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

LOOK_S = 0.1
IDLE_S = 30.0
IDLE_LIMIT = 256
DRAIN_S = 1.0
AHEAD_BYTES = 256 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
JOIN_LIMIT_BYTES = 64 * 1024
NEVER_S = float("inf")


class WireError(ConnectionError):
    """A connection broke, or what came over it is not HTTP."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads.

    Attributes:
        host: name or IP address.
        port: of TCP.
        tls: whether it is encrypted.
        name: host and port as the `Host` header says them.
        path: before every request's own.
    """

    host: str
    port: int
    tls: bool
    name: str
    path: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            ValueError: not one of HTTP.
        """
        parts = urlsplit(url)
        clean = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not clean:
            raise ValueError(f"not an HTTP URL: {url!r}")
        tls = parts.scheme == "https"
        name = parts.netloc.rpartition("@")[2]
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, name, parts.path.rstrip("/"))


class Wire(asyncio.Protocol):
    """One connection, and the answer that comes over it.

    Attributes:
        status: of HTTP, once `answered`.
        headers: of the answer, names in lower case; of several with one name the last counts.
        heard: anything of this answer has come.
        due_s: on the loop's clock: silent until then it is given up.
    """

    __slots__ = (
        "_ended", "_error", "_head_bytes", "_keeps", "_parser", "_parts", "_paused", "_pool",
        "_size", "_to_eof", "_transport", "_waiter", "_whole", "address", "draining", "due_s",
        "headers", "heard", "idle_s", "status",
    )  # fmt: skip

    def __init__(self, pool: Wires, address: Address) -> None:
        self._pool, self.address = pool, address
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._ended = True
        self.idle_s = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = self._head_bytes = 0
        self.heard = self._keeps = self._to_eof = self._paused = self.draining = False
        self._waiter: asyncio.Future[None] | None = None
        self.due_s = NEVER_S

    # -- one exchange --------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes, within_s: float) -> None:
        """Send a request; silence is counted from `within_s` from now on."""
        transport = self._transport
        if transport is None or self._error is not None:
            raise self._error or WireError("not connected")
        self._reset()
        self._ended = False
        self.due_s = self._pool.now_s() + within_s
        if len(body) <= JOIN_LIMIT_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def answered(self) -> None:
        """Wait for status and headers.

        Raises:
            WireError: the connection broke.
            TimeoutError: the site is silent.
        """
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._news()

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end.

        Raises:
            WireError: the connection broke.
            TimeoutError: the site is silent.
        """
        while not self._parts:
            if self._ended:
                return b""
            if self._error is not None:
                raise self._error
            await self._news()
        piece = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._paused:
            self._go_on()
        return piece

    async def _news(self) -> None:
        self._waiter = self._pool.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def leave(self, *, drain: bool = False) -> None:
        """Done with the answer: keep the connection if it is at its end, else break it off.

        Args:
            drain: the rest is worth nothing and about to come: wait a moment for it.
        """
        self._parts.clear()
        if self._error is not None or self._transport is None:
            self._pool.forget(self)
        elif self._ended:
            self._pool.keep(self, self._keeps)
        elif drain:
            self.draining = True
            if self._paused:
                self._go_on()
            self.due_s = self._pool.now_s() + DRAIN_S
        else:
            self.abort()

    def abort(self) -> None:
        """Break it off; the other side sees it at once."""
        self._fail(WireError("left"))

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def silent(self) -> None:
        """Nothing came for too long."""
        self._fail(TimeoutError())

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _go_on(self) -> None:
        self._paused = False
        self.due_s = self._pool.now_s() + self._pool.silent_s
        if self._transport is not None:
            self._transport.resume_reading()

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._ended:  # nobody asked for it
            self._fail(WireError("sent something that was not asked for"))
            return
        self.heard = True
        if not self.draining:
            self.due_s = self._pool.now_s() + self._pool.silent_s
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(WireError(f"does not speak HTTP: {error}"))
            return
        if self._size > AHEAD_BYTES and not self._ended and not self.draining:
            self._paused, self.due_s = True, NEVER_S
            assert self._transport is not None
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._transport = None
        if self._to_eof and exc is None and self._error is None:
            self._ended = True
        if self._error is None:
            self._error = WireError(str(exc) if exc else "connection closed")
        self._pool.forget(self)
        self._wake()

    # -- httptools -----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_LIMIT_BYTES:
            raise WireError(f"headers of over {HEAD_LIMIT_BYTES} bytes")
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """All of them came."""
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the real one follows
            self.headers = {}
            return
        self.status = status
        self._keeps = self._parser.should_keep_alive()
        self._to_eof = (
            b"content-length" not in self.headers and b"transfer-encoding" not in self.headers
        )

    def on_body(self, body: bytes) -> None:
        """Some of the body came."""
        if not self.draining:
            self._parts.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self.status:
            self._ended = True
            self.due_s = NEVER_S
            if self.draining:
                self._pool.keep(self, self._keeps)


@dataclass(slots=True)
class Wires:
    """Connections to all sites.

    Attributes:
        silent_s: a site that says nothing for so long is given up.
        connect_s: a site must take a connection within so long.
        tls: for sites of other machines; the system's authorities where None is given.
    """

    silent_s: float
    connect_s: float
    tls: ssl.SSLContext | None = None
    loop: asyncio.AbstractEventLoop = field(init=False)
    _idle: dict[Address, list[Wire]] = field(default_factory=dict)
    _busy: set[Wire] = field(default_factory=set)
    _addresses: dict[str, Address] = field(default_factory=dict)

    def now_s(self) -> float:
        """On the loop's clock."""
        return self.loop.time()

    async def watch(self) -> None:
        """Give up what is silent, and close what was idle for long, until cancelled."""
        self.loop = asyncio.get_running_loop()
        while True:
            now_s = self.now_s()
            for wire in [wire for wire in self._busy if wire.due_s < now_s]:
                wire.silent()
            for wires in self._idle.values():
                while wires and now_s - wires[0].idle_s > IDLE_S:
                    wires.pop(0).abort()
            await asyncio.sleep(LOOK_S)

    async def post(self, url: str, path: str, head: bytes, body: bytes, within_s: float) -> Wire:
        """Send a request; the connection with its answer's status and headers, to be left.

        Args:
            url: of the site.
            path: of the request, without a query.
            head: further headers, each ended by CR LF.
            body: is sent as it is.
            within_s: until the site says something.

        Raises:
            WireError: the connection broke.
            OSError: there was none.
            TimeoutError: the site is silent.
            ValueError: not a URL.
        """
        self.loop = asyncio.get_running_loop()
        address = self._address(url)
        told = (
            f"POST {address.path}{path} HTTP/1.1\r\nhost: {address.name}\r\n"
            f"content-length: {len(body)}\r\n"
        )
        request = told.encode("ascii") + head + b"\r\n"
        waiting = self._idle.get(address)
        while waiting:
            wire = waiting.pop()
            try:
                return await self._ask(wire, request, body, within_s)
            except WireError:
                if wire.heard:
                    raise  # else it was closed while it lay idle: another, or a new one
        return await self._ask(await self._connect(address), request, body, within_s)

    async def _ask(self, wire: Wire, request: bytes, body: bytes, within_s: float) -> Wire:
        self._busy.add(wire)
        try:
            wire.send(request, body, within_s)
            await wire.answered()
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _connect(self, address: Address) -> Wire:
        wire = Wire(self, address)
        options: dict[str, Any] = {}
        if address.tls:
            options = {"ssl": self.tls or True, "server_hostname": address.host}
        async with asyncio.timeout(self.connect_s):
            await self.loop.create_connection(lambda: wire, address.host, address.port, **options)
        return wire

    def _address(self, url: str) -> Address:
        found = self._addresses.get(url)
        if found is None:
            if len(self._addresses) >= 4096:
                self._addresses.clear()
            found = self._addresses[url] = Address.of(url)
        return found

    def keep(self, wire: Wire, keeps: bool) -> None:
        """An exchange has come to its end; the connection may serve another."""
        self._busy.discard(wire)
        idle = self._idle.setdefault(wire.address, [])
        if not keeps or len(idle) >= IDLE_LIMIT:
            wire.abort()
            return
        wire.draining, wire.due_s, wire.idle_s = False, NEVER_S, self.now_s()
        idle.append(wire)

    def forget(self, wire: Wire) -> None:
        """A connection is over."""
        self._busy.discard(wire)
        idle = self._idle.get(wire.address)
        if idle and wire in idle:
            idle.remove(wire)

    def close(self) -> None:
        """Break off everything."""
        for wires in [list(self._busy), *map(list, self._idle.values())]:
            for wire in wires:
                wire.abort()
        self._idle.clear()
