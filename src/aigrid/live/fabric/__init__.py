"""The fabric: how control plane, gateways and sites hear from one another, by HTTP or by NATS."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.package_source import RegistrySource
from aigrid.live.replicas import PackageSource


def link_of(url: str, name: str, control_url: str, token: str) -> Link:
    """A process's link.

    Args:
        url: of the fabric; empty for the control plane's own HTTP.
        name: of the process, for the server's list of connections.
        control_url: the control plane.
        token: the grid's token.
    """
    if not url:
        return HttpLink(control_url, token)
    from aigrid.live.fabric.by_nats import NatsLink
    from aigrid.live.fabric.nats_names import NatsServer

    return NatsLink(NatsServer(url), name)


def source_of(
    url: str, control_url: str, token: str, folder: Path, trusted_keys: tuple[Path, ...]
) -> PackageSource:
    """Where a site gets its packages; arguments as for `link_of` and `RegistrySource`."""
    if not url:
        return RegistrySource(control_url, token, folder, trusted_keys)
    from aigrid.live.fabric.nats_names import NatsServer
    from aigrid.live.fabric.packages import NatsSource

    return NatsSource(NatsServer(url), folder, trusted_keys)


def check(url: str) -> None:
    """See that a fabric answers, before anything slow happens. Blocks.

    Raises:
        UnavailableError: it does not, or has no JetStream.
    """
    if not url:
        return
    from aigrid.live.fabric.nats_names import NatsServer, look

    asyncio.run(look(NatsServer(url)))
