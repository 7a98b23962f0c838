"""A site's or gateway's link over NATS JetStream."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from aigrid.core.errors import UnavailableError
from aigrid.live.fabric.link import Kind
from aigrid.live.fabric.nats_names import (
    DESIRED,
    KV_SUBJECT,
    ROUTES,
    ROUTES_KEY,
    kv_stream,
    orders_key,
    report_subject,
)
from aigrid.live.fabric.nats_server import AWAY, CALL_TIMEOUT_S, NatsServer
from aigrid.live.fabric.objects import read_object

JOIN_TIMEOUT_S = 5.0
LOOK_S = 0.05


@dataclass(slots=True)
class NatsLink:
    """Implements `fabric.link.Link`.

    A report is acknowledged by the stream, not by the control plane: while that is away, the last
    desired state stands in the bucket and is what a heartbeat hears.

    Attributes:
        server: where NATS is.
        name: shown in the server's list of connections.
    """

    server: NatsServer
    name: str
    _client: Client | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def open(self) -> None:
        """See `Link.open`."""

    async def close(self) -> None:
        """See `Link.close`."""
        if self._client is not None:
            await self._client.close()

    async def tell(self, kind: Kind, sender: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Link.tell`."""
        stream = await self._stream()
        try:
            key = orders_key(sender)
            before = await self._entry(stream, key) if kind == "join" else None
            content = json.dumps(body).encode()
            await stream.publish(report_subject(kind, sender), content, timeout=CALL_TIMEOUT_S)
            if kind == "join":
                return await self._newer(stream, key, (before.seq or 0) if before else 0)
            if kind != "heartbeat":
                return {"noted": kind}
            found = await self._entry(stream, key)
        except AWAY as error:
            raise self._away(error) from error
        return _orders(found) if found else {"join": True}

    async def routes(self, after: int, wait_s: float) -> dict[str, Any]:
        """See `Link.routes`."""
        stream = await self._stream()
        deadline_s = time.monotonic() + wait_s
        try:
            while time.monotonic() < deadline_s:
                entry = await self._entry(stream, ROUTES_KEY)
                if entry is not None and entry.data:
                    told: dict[str, Any] = json.loads(entry.data)
                    if told["version"] != after:
                        return await self._whole(stream, told)
                await asyncio.sleep(LOOK_S)
        except AWAY as error:
            raise self._away(error) from error
        return {"version": after}

    async def _whole(self, stream: JetStreamContext, told: dict[str, Any]) -> dict[str, Any]:
        """A table too large for one message lies in an object store."""
        if "object" not in told:
            return told
        table: dict[str, Any] = json.loads(await read_object(stream, ROUTES, told["object"]))
        return table

    async def _newer(self, stream: JetStreamContext, key: str, revision: int) -> dict[str, Any]:
        deadline_s = time.monotonic() + JOIN_TIMEOUT_S
        while time.monotonic() < deadline_s:
            entry = await self._entry(stream, key)
            if entry is not None and (entry.seq or 0) > revision:
                return _orders(entry)
            await asyncio.sleep(LOOK_S)
        raise UnavailableError(f"nobody took the report {key!r} of fabric {self.server.url}")

    async def _entry(self, stream: JetStreamContext, key: str) -> RawStreamMsg | None:
        """The last value of one key; read so that the server can see whose it is."""
        subject = KV_SUBJECT.format(bucket=DESIRED, key=key)
        try:
            return await stream.get_last_msg(kv_stream(DESIRED), subject, direct=True)
        except NotFoundError:
            return None

    async def _stream(self) -> JetStreamContext:
        async with self._lock:
            if self._client is None:
                self._client = await self.server.connect(self.name)
        return self._client.jetstream(timeout=CALL_TIMEOUT_S)

    def _away(self, error: BaseException) -> UnavailableError:
        return UnavailableError(f"fabric {self.server.url}: {error!r}")


def _orders(entry: RawStreamMsg) -> dict[str, Any]:
    orders: dict[str, Any] = json.loads(entry.data or b'{"join": true}')
    return orders
