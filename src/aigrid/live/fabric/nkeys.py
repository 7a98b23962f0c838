"""NATS keys: Ed25519, written as NATS writes them.

nats-io/nkeys, "Encoding": a byte for the kind, the key, CRC-16/XMODEM of both (little-endian), in
base32 without padding. A seed has two bytes before it: that it is one, and of which kind.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aigrid.core.errors import ConfigurationError

Kind = Literal["operator", "account", "user"]
PREFIXES: dict[Kind, int] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
SEED = 18 << 3
RAW_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key of one kind.

    Attributes:
        kind: whose it is.
        raw: the seed, 32 bytes.
    """

    kind: Kind
    raw: bytes = field(repr=False)

    @classmethod
    def new(cls, kind: Kind) -> KeyPair:
        """One that nobody has."""
        return cls(kind, secrets.token_bytes(RAW_BYTES))

    @classmethod
    def read(cls, seed: str) -> KeyPair:
        """From its seed as text.

        Raises:
            ConfigurationError: it is none.
        """
        whole = _decode(seed)
        first = (whole[0] & 7) << 5 | whole[1] >> 3
        kinds = [kind for kind, prefix in PREFIXES.items() if prefix == first]
        if whole[0] & 0xF8 != SEED or not kinds or len(whole) != RAW_BYTES + 2:
            raise _bad()
        return cls(kinds[0], whole[2:])

    @property
    def seed(self) -> str:
        """Its secret, as text."""
        prefix = PREFIXES[self.kind]
        return _encode(bytes([SEED | prefix >> 5, (prefix & 31) << 3]) + self.raw)

    @property
    def public(self) -> str:
        """Its name, for everybody."""
        key = Ed25519PrivateKey.from_private_bytes(self.raw).public_key()
        return _encode(bytes([PREFIXES[self.kind]]) + key.public_bytes_raw())

    def sign(self, content: bytes) -> bytes:
        """Ed25519 signature, 64 bytes (RFC 8032)."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(content)


def is_public(text: str, kind: Kind) -> bool:
    """Whether this is a public key of a kind."""
    try:
        whole = _decode(text)
    except ConfigurationError:
        return False
    return len(whole) == RAW_BYTES + 1 and whole[0] == PREFIXES[kind]


def _encode(whole: bytes) -> str:
    check = binascii.crc_hqx(whole, 0).to_bytes(2, "little")
    return base64.b32encode(whole + check).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        whole = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise _bad() from error
    if len(whole) < 4 or binascii.crc_hqx(whole[:-2], 0) != int.from_bytes(whole[-2:], "little"):
        raise _bad()
    return whole[:-2]


def _bad() -> ConfigurationError:
    return ConfigurationError("this is no NATS key", next_step="restore it from a backup")
