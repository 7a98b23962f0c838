"""Tells a NATS server which keys count no longer: a site that was dismissed is out at once.

It also sees that members are heard at all. nats-server 2.9.10 makes an account when somebody of it
first comes; where members and control plane come in the same milliseconds after its start, what
members reach of the grid's account leads nowhere, for ever: 21 of 150 such starts. Told the
accounts once more it mends that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NotFoundError

from aigrid.core.errors import AigridError, ConfigurationError
from aigrid.live.fabric.authority import UPDATE, FabricAuthority, read_answer
from aigrid.live.fabric.claims import read
from aigrid.live.fabric.nats_names import DESIRED, KV_SUBJECT, ROUTES_KEY, kv_stream
from aigrid.live.fabric.nats_server import AWAY, CALL_TIMEOUT_S, NatsServer
from aigrid.live.outage import Outage

LOOK_S = 0.1
AGAIN_S = 30.0  # a server that came back without its files hears it again
PROBES = 3  # a server that has just come makes its streams first
PROBE_TIMEOUT_S = 1.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Revoker:
    """Keeps the accounts of a server as the grid has them, until cancelled.

    Attributes:
        server: where NATS is.
        authority: signs the accounts.
        revoked: keys that count no longer.
    """

    server: NatsServer
    authority: FabricAuthority
    revoked: Callable[[], Collection[str]]

    async def run(self) -> None:
        """Tell it at the start, after each change, and now and then."""
        away = Outage("fabric", logger)
        while True:
            client: Client | None = None
            try:
                own = replace(self.server, own=self.authority.system_pass(time.time()))
                client = await own.connect("aigrid accounts")
                while True:
                    said, came = set(self.revoked()), client.stats["reconnects"]
                    await self._tell(client, said)
                    away.over()
                    if not await self._members_heard():
                        logger.warning("fabric hears no member: it is told the accounts again")
                        await self._tell(client, said, anyway=True)
                    await self._until_news(client, said, came)
            except NoRespondersError:
                await asyncio.sleep(AGAIN_S)  # it knows no accounts: everybody may come in
            except (*AWAY, AigridError) as error:
                away.note(error)
                await asyncio.sleep(1.0)
            finally:
                if client is not None:
                    await client.close()

    async def _tell(self, client: Client, revoked: set[str], *, anyway: bool = False) -> None:
        """Tell it what it does not know; the later of two tokens counts, whatever clocks say."""
        known = await client.request(self.authority.lookup, b"", timeout=CALL_TIMEOUT_S)
        had: dict[str, Any] = {"iat": 0.0, "nats": {}}
        had |= read(known.data.decode()) if known.data else {}
        same = bool(known.data) and set(had["nats"].get("revocations", {})) == revoked
        if same and not anyway:
            return
        members = self.authority.public("members")
        now_s = max(time.time(), had["iat"] + 1.0)
        token = self.authority.accounts(now_s, revoked)[members]
        answer = await client.request(UPDATE, token.encode(), timeout=CALL_TIMEOUT_S)
        if said := read_answer(answer.data):
            raise ConfigurationError(
                f"fabric {self.server.url} does not take the grid's accounts: {said}",
                next_step="run it with the configuration that `aigrid fabric` writes",
            )

    async def _members_heard(self) -> bool:
        """Whether a member that asks the grid's account is answered."""
        own = self.authority.own_pass("gateway", "probe", time.time())
        client = await replace(self.server, own=own).connect("aigrid probe")
        stream = client.jetstream(timeout=PROBE_TIMEOUT_S)
        subject = KV_SUBJECT.format(bucket=DESIRED, key=ROUTES_KEY)
        try:
            for _ in range(PROBES):
                try:
                    await stream.get_last_msg(kv_stream(DESIRED), subject, direct=True)
                    return True
                except NotFoundError:
                    return True  # an answer as well: there is no table yet
                except NatsTimeoutError:
                    continue
            return False
        finally:
            await client.close()

    async def _until_news(self, client: Client, said: set[str], came: int) -> None:
        """Until other keys count no longer, or the server went and came back."""
        for _ in range(round(AGAIN_S / LOOK_S)):
            if set(self.revoked()) != said or client.stats["reconnects"] != came:
                return
            await asyncio.sleep(LOOK_S)
