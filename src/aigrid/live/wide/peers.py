"""Who is at the other end of a TLS connection, for ASGI applications.

The scope's `extensions` carry `tls` with `client_cert_name`, as the ASGI TLS extension names it,
beside the role; uvicorn does not fill it in.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import uvicorn
from starlette.types import Scope

from aigrid.live.bounded import BoundedWriter
from aigrid.live.server import BACKLOG, DRAIN_S, NotifiedServer


class Peer(NamedTuple):
    """Who showed a certificate of this grid; empty strings for nobody."""

    name: str
    role: str


NOBODY = Peer("", "")


def peer_of(scope: Scope) -> Peer:
    """Who sent this request."""
    told = (scope.get("extensions") or {}).get("tls") or {}
    return Peer(told.get("client_cert_name", ""), told.get("client_cert_role", ""))


class NamedPeers(BoundedWriter):
    """Notes in each request's scope who showed which certificate."""

    _peer: Peer = NOBODY

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look at the certificate; TLS has proved it by now."""
        super().connection_made(transport)
        shown = transport.get_extra_info("ssl_object")
        self._peer = _read(shown.getpeercert() if shown is not None else None)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        told: dict[object, object] = {
            "client_cert_name": self._peer.name,
            "client_cert_role": self._peer.role,
        }
        self.scope["extensions"] = {"tls": told}


def _read(certificate: Any) -> Peer:
    subject = {key: value for part in (certificate or {}).get("subject", ()) for key, value in part}
    return Peer(subject.get("commonName", ""), subject.get("organizationalUnitName", ""))


def tls_server(
    app: Any, context: ssl.SSLContext, on_exit: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """A server behind TLS; `await server.serve(sockets=[bound])`.

    Args:
        app: the ASGI application.
        context: see `wide.certificates.Identity.server`.
        on_exit: called at SIGTERM.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=NamedPeers,
        ssl_context_factory=lambda _config, _default: context,
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=60,
        server_header=False,
        date_header=False,
    )
    return NotifiedServer(config, on_exit)
