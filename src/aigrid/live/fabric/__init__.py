"""The fabric: how control plane, gateways and sites hear from one another, by HTTP or by NATS."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.core.errors import ConfigurationError
from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.fabric.passes import Pass
from aigrid.live.package_source import RegistrySource
from aigrid.live.paths import GridPaths
from aigrid.live.replicas import PackageSource

if TYPE_CHECKING:
    from aigrid.live.fabric.nats_server import NatsServer


@dataclass(frozen=True, slots=True)
class Fabric:
    """One process's way to NATS.

    Attributes:
        url: of NATS, `tls://` or `nats://`; empty for the control plane's own HTTP.
        own: what the process shows.
        authority: the grid's certificate, by which a `tls://` server is known.
    """

    url: str = ""
    own: Pass | None = None
    authority: Path | None = None

    @classmethod
    def of(cls, paths: GridPaths, url: str, role: str, name: str) -> Fabric:
        """Of a process of the machine that holds the grid's secrets.

        Args:
            paths: its data directory.
            url: of NATS.
            role: `control`, `gateway` or `site`.
            name: of the process.
        """
        if not url:
            return cls()
        from aigrid.live.fabric.authority import FabricAuthority

        own = FabricAuthority(paths.fabric_authority).own_pass(role, name, time.time())
        return cls(url, own, paths.authority / "ca.crt")

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Fabric:
        """As `to_plain` wrote it, into a process's configuration."""
        own, authority = raw.get("own"), raw.get("authority")
        return cls(raw["url"], Pass(**own) if own else None, Path(authority) if authority else None)

    def to_plain(self) -> dict[str, Any]:
        """For a process's configuration, which nobody else may read."""
        own = {"seed": self.own.seed, "token": self.own.token} if self.own else None
        return {"url": self.url, "own": own, "authority": str(self.authority or "")}

    @property
    def server(self) -> NatsServer:
        """How a connection is made.

        Raises:
            ConfigurationError: TLS, and no certificate of this grid's authority.
        """
        from aigrid.live.fabric.nats_server import NatsServer

        return NatsServer(self.url, self._tls() if "tls://" in self.url else None, self.own)

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except OSError as error:
            raise ConfigurationError(
                f"fabric {self.url}: the grid has no certificate {self.authority}",
                next_step="write the server's configuration with `aigrid fabric`",
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def link_of(fabric: Fabric, name: str, control_url: str, token: str) -> Link:
    """A process's link.

    Args:
        fabric: how it reaches NATS, if it does.
        name: of the process, for the server's list of connections.
        control_url: the control plane.
        token: the grid's token.
    """
    if not fabric.url:
        return HttpLink(control_url, token)
    from aigrid.live.fabric.by_nats import NatsLink

    return NatsLink(fabric.server, name)


def source_of(
    fabric: Fabric, control_url: str, token: str, folder: Path, trusted_keys: tuple[Path, ...]
) -> PackageSource:
    """Where a site gets its packages; arguments as for `link_of` and `RegistrySource`."""
    if not fabric.url:
        return RegistrySource(control_url, token, folder, trusted_keys)
    from aigrid.live.fabric.packages import NatsSource

    return NatsSource(fabric.server, folder, trusted_keys)


def check(fabric: Fabric, *, shared: bool) -> None:
    """See that a fabric answers, before anything slow happens. Blocks.

    Args:
        fabric: the control plane's.
        shared: whether other machines reach it: then it must know who is who.

    Raises:
        UnavailableError: it does not answer, does not let us in, or has no JetStream.
        ConfigurationError: it is shared, and lets everybody in.
    """
    if not fabric.url:
        return
    from aigrid.live.fabric.nats_server import look

    guarded = asyncio.run(look(fabric.server))
    if shared and not guarded:
        raise ConfigurationError(
            f"fabric {fabric.url} lets everybody in: any machine could speak for any site",
            next_step="run it with the configuration that `aigrid fabric` writes",
        )
