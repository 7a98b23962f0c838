"""A NATS server's configuration for a grid, written where the server will read it."""

from __future__ import annotations

import time
from pathlib import Path

from aigrid.live.fabric.authority import FabricAuthority
from aigrid.live.fabric.nats_config import Listener, config
from aigrid.live.paths import GridPaths, write_aside
from aigrid.live.wide.certificates import Authority
from aigrid.store.references import is_loopback


def configure(
    data: Path, out: Path, host: str, port: int, store: Path, *, tls: bool | None = None
) -> str:
    """Write `nats.conf` and, with TLS, the server's certificate; the URL of the fabric.

    Args:
        data: the grid's data directory; its secrets are made if they are not there.
        out: folder of the configuration.
        host: address that the server listens on, and that sites reach.
        port: there.
        store: folder in which the server keeps what it has.
        tls: whether connections are encrypted; None: beyond loopback.

    Raises:
        StorageError: one of the folders cannot be written.
    """
    paths = GridPaths(data)
    paths.make()
    own = None
    if not is_loopback(host) if tls is None else tls:
        own = out.absolute()
        Authority(paths.authority).identity(own, "nats", "fabric", [host])
    listener = Listener(host, port, store.absolute(), own)
    text = config(FabricAuthority(paths.fabric_authority), listener, time.time())
    write_aside(out / "nats.conf", text.encode())
    return listener.url
