"""Names that the grid uses in NATS JetStream, and how a connection is made.

Reports (heartbeats, demand, counters) are messages of one stream; what is wanted of a site and the
routing table are keys of a key-value bucket; packages are objects of an object store. NATS
documentation: JetStream streams, key-value store, object store (docs.nats.io).
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from aigrid.core.errors import UnavailableError

REPORTS = "AIGRID_REPORTS"
REPORT_SUBJECTS = "aigrid.report.>"
REPORT_AGE_S = 30.0
REPORTS_LIMIT_BYTES = 64 * 1024 * 1024
DESIRED = "aigrid_desired"
ROUTES_KEY = "routes"
PACKAGES = "aigrid_packages"
INLINE_LIMIT_BYTES = 512 * 1024  # below the server's default message limit of 1 MiB
CONNECT_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 2.0
AWAY = (NatsError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class NatsServer:
    """Where NATS is.

    Attributes:
        url: `nats://HOST:PORT`, several with commas.
        tls: with this process's certificate; None for a server without TLS.
    """

    url: str
    tls: ssl.SSLContext | None = None

    async def connect(self, name: str) -> Client:
        """A connection that comes back by itself, without end.

        Raises:
            UnavailableError: nobody answers now.
        """
        options: dict[str, Any] = {"tls": self.tls} if self.tls else {}
        client = Client()
        try:
            begun = client.connect(
                self.url.split(","),
                name=name,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,  # type: ignore[arg-type]
                error_cb=_heard,
                **options,
            )
            await asyncio.wait_for(begun, 2 * CONNECT_TIMEOUT_S)  # else it tries for ever
            return client
        except (*AWAY, ValueError) as error:
            await client.close()
            raise UnavailableError(
                f"fabric {self.url} does not answer: {error!r}",
                next_step="start nats-server with JetStream (`nats-server -js`), or mend --fabric",
            ) from error


async def look(server: NatsServer) -> None:
    """See that a server answers and keeps streams.

    Raises:
        UnavailableError: one of the two is not so.
    """
    client = await server.connect("aigrid check")
    try:
        await client.jetstream(timeout=CALL_TIMEOUT_S).account_info()
    except AWAY as error:
        raise UnavailableError(
            f"fabric {server.url} has no JetStream: {error!r}", next_step="run `nats-server -js`"
        ) from error
    finally:
        await client.close()


async def _heard(error: Exception) -> None:
    """The calls themselves say that the server is away, and who waits for them logs it once."""


def token(name: str) -> str:
    """A site's name as one token of a subject or key: other characters as `=XX`."""
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    return "".join(chr(b) if chr(b) in plain else f"={b:02X}" for b in name.encode())


def report_subject(kind: str, sender: str) -> str:
    """Subject of one sender's reports of a kind."""
    return f"aigrid.report.{kind}.{token(sender)}"


def orders_key(site: str) -> str:
    """Key of what is wanted of a site."""
    return f"site.{token(site)}"
