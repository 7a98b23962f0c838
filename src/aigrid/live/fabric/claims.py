"""What NATS is told of operators, accounts and users: JSON web tokens, signed by their issuer.

nats-io/jwt, version 2, and NATS documentation, "JWT guide": header `{"typ": "JWT", "alg":
"ed25519-nkey"}`, claims of the server's own under `nats`, base64url without padding.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aigrid.live.fabric.nkeys import KeyPair
from aigrid.live.fabric.rights import EXPORTS, Rights

HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
VERSION = 2
UNLIMITED = -1
SUBSCRIPTIONS_LIMIT = 64
MESSAGE_LIMIT_BYTES = 256 * 1024


def operator(key: KeyPair, system: str, now_s: float) -> str:
    """Of whom the accounts are; signs itself.

    Args:
        key: the operator's.
        system: public key of the account that may change the others.
        now_s: seconds since 1970.
    """
    told = {"type": "operator", "version": VERSION, "system_account": system}
    return _signed(key, {"sub": key.public, "name": "aigrid", "nats": told}, now_s)


def account(
    issuer: KeyPair,
    public: str,
    name: str,
    now_s: float,
    *,
    streams: bool = False,
    **told: Any,
) -> str:
    """An account.

    Args:
        issuer: the operator's key.
        public: of the account.
        name: for people.
        now_s: seconds since 1970.
        streams: whether it keeps any.
        told: `exports`, `imports`, `revocations`.
    """
    counted = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    limits: dict[str, Any] = dict.fromkeys(counted, UNLIMITED) | {"wildcards": True}
    if streams:
        kept = ("mem_storage", "disk_storage", "streams", "consumer")
        limits |= dict.fromkeys(kept, UNLIMITED)
    whole = {"type": "account", "version": VERSION, "limits": limits} | told
    return _signed(issuer, {"sub": public, "name": name, "nats": whole}, now_s)


def exports() -> list[dict[str, Any]]:
    """What the control plane's account lets members reach."""
    return [{"name": subject, "subject": subject, "type": "service"} for subject in EXPORTS]


def imports(account_key: str) -> list[dict[str, Any]]:
    """The same, as members take it from that account."""
    return [export | {"account": account_key} for export in exports()]


def user(
    issuer: KeyPair, public: str, name: str, rights: Rights, now_s: float, until_s: float = 0.0
) -> str:
    """A user of an account.

    Args:
        issuer: the account's key.
        public: of the user.
        name: shown in the server's list.
        rights: its subjects.
        now_s: seconds since 1970.
        until_s: when it ends; 0 for never.
    """
    told: dict[str, Any] = {"type": "user", "version": VERSION}
    told |= {"pub": {"allow": list(rights.publish)}, "sub": {"allow": list(rights.subscribe)}}
    free = ">" in rights.publish
    told["subs"] = UNLIMITED if free else SUBSCRIPTIONS_LIMIT
    told["payload"] = UNLIMITED if free else MESSAGE_LIMIT_BYTES
    told["data"] = UNLIMITED
    claims: dict[str, Any] = {"sub": public, "name": name, "nats": told}
    return _signed(issuer, claims | ({"exp": int(until_s)} if until_s else {}), now_s)


def read(token: str) -> dict[str, Any]:
    """The claims of a token; who signed it is not looked at."""
    body = token.split(".")[1]
    told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return told


def _signed(key: KeyPair, claims: Mapping[str, Any], now_s: float) -> str:
    whole = dict(claims) | {"iss": key.public, "iat": int(now_s)}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()
    whole["jti"] = base64.b32encode(digest).decode().rstrip("=")
    content = f"{_text(json.dumps(HEADER).encode())}.{_text(json.dumps(whole).encode())}"
    return f"{content}.{_text(key.sign(content.encode()))}"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
