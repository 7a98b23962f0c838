"""The grid's own authority over its NATS server: it says who is who, and what each may.

The server trusts the operator's key alone; it needs no change when a site joins. NATS
documentation, "Decentralized JWT Authentication/Authorization".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from aigrid.core.errors import StorageError
from aigrid.live.fabric import claims
from aigrid.live.fabric.nkeys import KeyPair
from aigrid.live.fabric.passes import Pass
from aigrid.live.fabric.rights import Rights, inbox, rights_of
from aigrid.live.paths import write_aside

PARTS = ("operator", "system", "grid", "members")
UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
FOREVER_S = 253402300799  # the end of the year 9999


class FabricAuthority:
    """The keys of operator and accounts; made on first use, out of one secret.

    Args:
        file: of the secret, mode 0600.

    Raises:
        StorageError: it cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            write_aside(file, secrets.token_hex(32).encode() + b"\n", mode=0o600)
        try:
            self._secret = bytes.fromhex(file.read_text())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{file} cannot be read: {error}", next_step="restore it from a backup"
            ) from error
        self._operator = KeyPair("operator", self._raw("operator"))
        self._accounts = {name: KeyPair("account", self._raw(name)) for name in PARTS[1:]}

    def _raw(self, of: str) -> bytes:
        """A seed for each purpose; HMAC as a key derivation (RFC 5869, one block)."""
        return hmac.digest(self._secret, f"aigrid fabric {of}".encode(), hashlib.sha256)

    def public(self, account: str) -> str:
        """The key of an account: `system`, `grid` or `members`."""
        return self._accounts[account].public

    def operator(self, now_s: float) -> str:
        """The operator's token, for the server's configuration."""
        return claims.operator(self._operator, self.public("system"), now_s)

    def accounts(self, now_s: float, revoked: Iterable[str] = ()) -> dict[str, str]:
        """The accounts' tokens, by public key.

        Args:
            now_s: seconds since 1970; the server takes the later of two.
            revoked: keys of users that count no longer, whatever their tokens say.
        """
        grid, members = self.public("grid"), self.public("members")
        ended = dict.fromkeys(sorted(revoked), FOREVER_S)
        told = {
            self.public("system"): {"name": "system"},
            grid: {"name": "grid", "streams": True, "exports": claims.exports()},
            members: {
                "name": "members",
                "imports": claims.imports(grid),
                "revocations": ended,
            },
        }
        return {
            key: claims.account(self._operator, key, now_s=now_s, **what)  # type: ignore[arg-type]
            for key, what in told.items()
        }

    def own_pass(self, role: str, name: str, now_s: float) -> Pass:
        """For a process of this machine; the same key at each start, for ever."""
        key = KeyPair("user", self._raw(f"{role} {name}"))
        return Pass(key.seed, self.token(role, name, key.public, now_s))

    def token(self, role: str, name: str, public: str, now_s: float, until_s: float = 0.0) -> str:
        """What the holder of a key may.

        Args:
            role: `control`, `gateway` or `site`.
            name: of the site or process.
            public: its key.
            now_s: seconds since 1970.
            until_s: when it ends; 0 for never.
        """
        account = self._accounts["grid" if role == "control" else "members"]
        rights = rights_of(role, name, public)
        return claims.user(account, public, f"{role} {name}", rights, now_s, until_s)

    @property
    def lookup(self) -> str:
        """Where the server says how it knows the members' account."""
        return f"$SYS.REQ.ACCOUNT.{self.public('members')}.CLAIMS.LOOKUP"

    def system_pass(self, now_s: float) -> Pass:
        """By which the server is told of accounts; it may do nothing else."""
        key = KeyPair("user", self._raw("system user"))
        rights = Rights((UPDATE, self.lookup), (f"{inbox(key.public)}.>",))
        account = self._accounts["system"]
        return Pass(key.seed, claims.user(account, key.public, "control", rights, now_s))


def read_answer(raw: bytes) -> str:
    """What the server says to a changed account; empty where it took it."""
    told = json.loads(raw)
    error = told.get("error")
    return "" if not error else str(error.get("description", error))
