"""Tells a NATS server which keys count no longer: a site that was dismissed is out at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from nats.aio.client import Client
from nats.errors import NoRespondersError

from aigrid.core.errors import AigridError, ConfigurationError
from aigrid.live.fabric.authority import UPDATE, FabricAuthority, read_answer
from aigrid.live.fabric.claims import read
from aigrid.live.fabric.nats_server import AWAY, CALL_TIMEOUT_S, NatsServer
from aigrid.live.outage import Outage

LOOK_S = 0.1
AGAIN_S = 30.0  # a server that came back without its files hears it again
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
                    said = set(self.revoked())
                    await self._tell(client, said)
                    away.over()
                    await self._until_news(said)
            except NoRespondersError:
                await asyncio.sleep(AGAIN_S)  # it knows no accounts: everybody may come in
            except (*AWAY, AigridError) as error:
                away.note(error)
                await asyncio.sleep(1.0)
            finally:
                if client is not None:
                    await client.close()

    async def _tell(self, client: Client, revoked: set[str]) -> None:
        """Tell it what it does not know; the later of two tokens counts, whatever clocks say."""
        known = await client.request(self.authority.lookup, b"", timeout=CALL_TIMEOUT_S)
        had: dict[str, Any] = {"iat": 0.0, "nats": {}}
        had |= read(known.data.decode()) if known.data else {}
        if known.data and set(had["nats"].get("revocations", {})) == revoked:
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

    async def _until_news(self, said: set[str]) -> None:
        for _ in range(round(AGAIN_S / LOOK_S)):
            if set(self.revoked()) != said:
                return
            await asyncio.sleep(LOOK_S)
