"""The control plane's side of NATS: hears reports, writes what is wanted, puts packages up."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BucketNotFoundError, NotFoundError

from aigrid.core.errors import AigridError, AuthenticationError
from aigrid.live.ending import ended
from aigrid.live.fabric.nats_names import (
    DESIRED,
    INLINE_LIMIT_BYTES,
    PACKAGES,
    REPORT_AGE_S,
    REPORT_SUBJECTS,
    REPORTS,
    REPORTS_LIMIT_BYTES,
    ROUTES,
    ROUTES_KEY,
    kv_stream,
    orders_key,
    token,
)
from aigrid.live.fabric.nats_server import AWAY, CALL_TIMEOUT_S, NatsServer
from aigrid.live.fabric.packages import put_package
from aigrid.live.fabric.rights import SITE_KINDS, subject_of
from aigrid.live.outage import Outage
from aigrid.store.layout import Layout

logger = logging.getLogger(__name__)
RETRY_S = 0.5
BATCH = 256
ROUTES_WAIT_S = 1.0


class Desk(Protocol):
    """What takes the reports: the control plane."""

    async def take(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Handle one report; the answer of a join or heartbeat is the site's orders.

        Args:
            kind: of report.
            body: of it.

        Raises:
            AigridError: it is refused.
        """

    async def routes_after(self, version: int, wait_s: float) -> dict[str, Any]:
        """See `live.control_plane.ControlPlane.routes_after`."""


@dataclass(slots=True)
class NatsControl:
    """Serves a control plane over NATS until cancelled.

    Attributes:
        server: where NATS is.
        desk: takes the reports.
        layout: of the store, for packages.
        wanted: digests of the packages that sites shall find.
        dismissed: whether a site is heard no longer.
    """

    server: NatsServer
    desk: Desk
    layout: Layout
    wanted: Callable[[], set[str]]
    dismissed: Callable[[str], bool] = lambda _: False
    _said: dict[str, bytes] = field(default_factory=dict)
    _put: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Serve; while NATS is away, try again."""
        away = Outage("fabric", logger)
        while True:
            client: Client | None = None
            try:
                client = await self.server.connect("aigrid control")
                await self._serve(client.jetstream(timeout=CALL_TIMEOUT_S), away)
            except (*AWAY, AigridError) as error:
                away.note(error)
            finally:
                if client is not None:
                    await client.close()
            await asyncio.sleep(RETRY_S)

    async def _serve(self, stream: JetStreamContext, away: Outage) -> None:
        await make_places(stream)
        self._said.clear()
        self._put.clear()
        away.over()
        parts = [
            asyncio.create_task(part)
            for part in (
                self._hear(stream),
                self._publish_routes(stream),
                self._put_packages(stream),
            )
        ]
        try:
            await asyncio.gather(*parts)  # the first failure ends it
        finally:
            await ended(*parts)

    async def _hear(self, stream: JetStreamContext) -> None:
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW, inactive_threshold=10.0)
        heard = await stream.pull_subscribe(REPORT_SUBJECTS, stream=REPORTS, config=config)
        while True:
            try:
                batch = await heard.fetch(BATCH, timeout=1.0)
            except TimeoutError:
                await heard.consumer_info()  # raises where the server is gone, or forgot us
                continue
            for message in batch:
                await self._take(stream, message)

    async def _take(self, stream: JetStreamContext, message: Msg) -> None:
        await message.ack()
        kind, sender = message.subject.split(".")[2:4]
        try:
            body = json.loads(message.data)
            self._check_sender(message, kind, sender, body)
            orders = await self.desk.take(kind, body)
        except (AigridError, ValueError, KeyError, TypeError) as error:
            logger.warning("report %s is refused: %s", message.subject, error)
            return
        if kind in ("join", "heartbeat"):
            site = subject_of(kind, body)
            await self._want(stream, orders_key(site), orders, news=kind == "join")

    def _check_sender(self, message: Msg, kind: str, sender: str, body: Any) -> None:
        """See that a report is of whom its subject names: that much the server has checked.

        An answer that somebody let be sent here carries headers; reports carry none.

        Raises:
            AuthenticationError: it is another's, or of a site that was dismissed.
        """
        site = subject_of(kind, body) if kind in SITE_KINDS else ""
        if message.headers or (site and token(site) != sender) or self.dismissed(site):
            raise AuthenticationError(
                f"{sender!r} reports for another or was dismissed",
                next_step="each site reports for itself",
            )

    async def _want(
        self, stream: JetStreamContext, key: str, orders: dict[str, Any], *, news: bool
    ) -> None:
        content = json.dumps(orders, sort_keys=True).encode()
        if news or self._said.get(key) != content:
            bucket = await stream.key_value(DESIRED)
            await bucket.put(key, content)
            self._said[key] = content

    async def _publish_routes(self, stream: JetStreamContext) -> None:
        version = -1
        while True:
            told = await self.desk.routes_after(version, ROUTES_WAIT_S)
            if told["version"] == version:
                await asyncio.sleep(0.01)
                continue
            content = json.dumps(told).encode()
            if len(content) > INLINE_LIMIT_BYTES:
                objects = await stream.object_store(ROUTES)
                await objects.put("routes", content)
                content = json.dumps({"version": told["version"], "object": "routes"}).encode()
            bucket = await stream.key_value(DESIRED)
            await bucket.put(ROUTES_KEY, content)
            version = told["version"]

    async def _put_packages(self, stream: JetStreamContext) -> None:
        objects = await stream.object_store(PACKAGES)
        while True:
            for digest in sorted(self.wanted() - self._put):
                await put_package(objects, self.layout, digest)
                self._put.add(digest)
            await asyncio.sleep(0.1)


async def make_places(stream: JetStreamContext) -> None:
    """Create stream, bucket and object store where they are not there, each with its limit."""
    try:
        await stream.stream_info(REPORTS)
    except NotFoundError:
        await stream.add_stream(
            StreamConfig(
                name=REPORTS,
                subjects=[REPORT_SUBJECTS],
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                max_age=REPORT_AGE_S,
                max_bytes=REPORTS_LIMIT_BYTES,
            )
        )
    try:
        found = await stream.stream_info(kv_stream(DESIRED))
        if not found.config.allow_direct:  # of an older aigrid
            await stream.update_stream(found.config, allow_direct=True)
    except NotFoundError:
        await stream.create_key_value(KeyValueConfig(bucket=DESIRED, history=1, direct=True))
    for bucket in (PACKAGES, ROUTES):
        try:
            await stream.object_store(bucket)
        except (BucketNotFoundError, NotFoundError):
            await stream.create_object_store(bucket, ObjectStoreConfig(description="aigrid"))
