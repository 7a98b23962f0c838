"""The configuration of a NATS server that lets in this grid's processes and sites alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aigrid.live.fabric.authority import FabricAuthority

MEMORY_MB = 64
DISK_GB = 20


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the server listens, and where it keeps what.

    Attributes:
        host: address that grid and sites reach.
        port: there.
        store: folder of its streams and accounts.
        identity: folder of its certificate; None for no TLS, on loopback.
    """

    host: str
    port: int
    store: Path
    identity: Path | None = None

    @property
    def url(self) -> str:
        """For `aigrid up --fabric`."""
        address = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.identity else 'nats'}://{address}:{self.port}"


def config(authority: FabricAuthority, listener: Listener, now_s: float) -> str:
    """The text of `nats.conf`; there is no secret in it."""
    lines = [
        "# Written by `aigrid fabric`. It need not change when sites come and go.",
        f'host: "{listener.host}"',
        f"port: {listener.port}",
        "server_name: aigrid",
        "jetstream {",
        f'  store_dir: "{listener.store}"',
        f"  max_memory_store: {MEMORY_MB}MB",
        f"  max_file_store: {DISK_GB}GB",
        "}",
        *_tls(listener.identity),
        f'operator: "{authority.operator(now_s)}"',
        f'system_account: "{authority.public("system")}"',
        f'resolver {{ type: full, dir: "{listener.store / "accounts"}" }}',
        "resolver_preload {",
        *(f'  {key}: "{token}"' for key, token in authority.accounts(now_s).items()),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _tls(identity: Path | None) -> list[str]:
    """The server shows its certificate; who connects shows a key and a token."""
    if identity is None:
        return []
    return [
        "tls {",
        f'  cert_file: "{identity / "own.crt"}"',
        f'  key_file: "{identity / "own.key"}"',
        "}",
    ]
