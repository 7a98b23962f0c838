"""How a connection to NATS is made."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from aigrid.core.errors import UnavailableError
from aigrid.live.ending import ended
from aigrid.live.fabric.passes import Pass

CONNECT_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 2.0
AWAY = (NatsError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class NatsServer:
    """Where NATS is.

    Attributes:
        url: `nats://HOST:PORT`, several with commas.
        tls: by which the server is known; None for one without TLS.
        own: what this process shows; None where everybody is let in.
    """

    url: str
    tls: ssl.SSLContext | None = None
    own: Pass | None = None

    async def connect(self, name: str) -> Client:
        """A connection that comes back by itself, without end.

        Raises:
            UnavailableError: nobody answers now, or it does not let this process in.
        """
        options: dict[str, Any] = {"tls": self.tls} if self.tls else {}
        options |= self.own.options() if self.own else {}
        client, said = Client(), _Said()
        begun = asyncio.create_task(
            client.connect(
                self.url.split(","),
                name=name,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,  # type: ignore[arg-type]
                error_cb=said.hear,
                **options,
            )
        )
        try:
            await _within(begun, 2 * CONNECT_TIMEOUT_S)  # else it tries for ever
            return client
        except (*AWAY, ValueError) as error:
            await client.close()
            if said.refused:
                raise UnavailableError(
                    f"fabric {self.url} does not let this process in: {said.refused}",
                    next_step="run it with the configuration that `aigrid fabric` writes; "
                    "a site that was dismissed needs a new invitation",
                ) from error
            raise UnavailableError(
                f"fabric {self.url} does not answer: {error!r}",
                next_step="start nats-server with JetStream (`nats-server -js`), or mend --fabric",
            ) from error


async def _within(work: asyncio.Task[None], timeout_s: float) -> None:
    """Await work for so long, and end it.

    Raises:
        TimeoutError: it took longer.
    """
    try:
        await asyncio.wait((work,), timeout=timeout_s)
        if not work.done():
            raise TimeoutError
        work.result()
    finally:
        await ended(work)


@dataclass(slots=True)
class _Said:
    """What a server said on the way in.

    Attributes:
        refused: that it does not let us in; empty where it did not say so.
    """

    refused: str = ""

    async def hear(self, error: Exception) -> None:
        """Calls say themselves that the server is away, and who waits for them logs it once."""
        if "auth" in str(error).lower():
            self.refused = str(error)


async def look(server: NatsServer) -> bool:
    """See that a server answers and keeps streams.

    Returns:
        whether it asks who is who.

    Raises:
        UnavailableError: one of the two is not so.
    """
    client = await server.connect("aigrid check")
    try:
        await client.jetstream(timeout=CALL_TIMEOUT_S).account_info()
        return bool(client._server_info.get("auth_required"))  # nats-py tells it nowhere else
    except AWAY as error:
        raise UnavailableError(
            f"fabric {server.url} has no JetStream: {error!r}", next_step="run `nats-server -js`"
        ) from error
    finally:
        await client.close()
