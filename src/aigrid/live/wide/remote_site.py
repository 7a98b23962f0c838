"""A site of another machine, as a process: the same site, behind TLS."""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
import socket
import ssl
from contextlib import suppress

from aigrid.core.errors import AigridError
from aigrid.engines.egress import FILE, Egress
from aigrid.live import server
from aigrid.live.fabric import link_of, source_of
from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.package_source import RegistrySource
from aigrid.live.replicas import PackageSource
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_api import SiteApi
from aigrid.live.tracing import NOWHERE, Telemetry
from aigrid.live.tracing.web import tracer_of
from aigrid.live.wide.certificates import RENEW_AFTER
from aigrid.live.wide.membership import Membership, renew
from aigrid.live.wide.peers import peer_of, tls_server

LOOK_S = 3600.0
logger = logging.getLogger(__name__)


def run_site(joined: Membership, telemetry: Telemetry = NOWHERE) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConflictError: the port is taken.
    """
    bound = server.listen(joined.host, joined.listen_port or joined.port)
    if joined.fabric and joined.way.own is None:
        renew(joined)  # it joined an older aigrid, which gave no pass
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(joined, bound, telemetry))


async def _serve(joined: Membership, bound: socket.socket, telemetry: Telemetry) -> None:
    token = secrets.token_urlsafe(32)  # nobody knows it: gateways show their certificate
    agent = SiteAgent(
        site=joined.site,
        url=joined.url,
        control_url=joined.door,
        grid_token=token,
        source=_source(joined),
        link=_link(joined),
    )
    agent.replicas.egress = Egress(joined.folder / FILE)
    tracer = tracer_of(telemetry, "site", joined.site.name, at_the_door=False)
    api = SiteApi(
        agent,
        token,
        trusted=lambda request: peer_of(request.scope).role == "gateway",
        tracer=tracer,
    )
    context = joined.identity.server(everybody_shows=True)
    web = tls_server(api.app(), context, agent.leave)
    web.config.lifespan = "on"
    keeping = asyncio.create_task(_keep_certificate(joined, context))
    try:
        await web.serve(sockets=[bound])
    finally:
        keeping.cancel()


async def _keep_certificate(joined: Membership, context: ssl.SSLContext) -> None:
    """Renew in time; connections that are open keep what they have."""
    while True:
        if joined.identity.left(datetime.datetime.now(datetime.UTC)) < 1.0 - RENEW_AFTER:
            try:
                await asyncio.to_thread(renew, joined)
                context.load_cert_chain(joined.identity.certificate, joined.identity.key)
                logger.info("certificate of site %s renewed", joined.site.name)
            except AigridError as error:
                logger.warning("certificate of site %s: %s", joined.site.name, error)
        await asyncio.sleep(LOOK_S)


def _link(joined: Membership) -> Link:
    if joined.fabric:
        return link_of(joined.way, joined.site.name, joined.door, "")
    return HttpLink(joined.door, "", joined.identity.client())


def _source(joined: Membership) -> PackageSource:
    if joined.fabric:
        return source_of(joined.way, joined.door, "", joined.folder, joined.trusted_keys)
    tls = joined.identity.client()
    return RegistrySource(joined.door, "", joined.folder, joined.trusted_keys, tls)
