"""Signing keys: an EC P-256 pair in PEM files, and the identifier that a signature carries."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aigrid.core.errors import ConfigurationError
from aigrid.store.durable import locked, storing, write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_MAX_KEY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a key pair lies.

    Attributes:
        private: PEM (PKCS #8), readable by its owner only.
        public: PEM (SubjectPublicKeyInfo).
        key_id: SHA-256 of the public PEM, as sigstore bundles hint at it.
    """

    private: Path
    public: Path
    key_id: str


def ensure_key(keys_dir: Path) -> KeyPair:
    """The key pair of a directory, made on first use.

    Raises:
        ConfigurationError: the private key can be read by others, or is no EC key.
        StorageError: the keys cannot be written.
    """
    private, public = keys_dir / "private.pem", keys_dir / "public.pem"
    with storing("a signing key", keys_dir):
        keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(keys_dir / ".lock"):
            if not private.exists():
                write_durably(private, _new_private_key(), 0o600)
            _check_private(private)
            # Derived again each time, so that a lost or swapped public half never misleads.
            pem = _public_of(private)
            if not public.exists() or public.read_bytes() != pem:
                write_durably(public, pem)
    return KeyPair(private, public, hashlib.sha256(pem).hexdigest())


def key_id(public: Path) -> str:
    """The identifier of a public key file.

    Raises:
        ConfigurationError: not an EC public key in PEM.
    """
    return hashlib.sha256(_pem(load_public_key(public))).hexdigest()


def load_public_key(public: Path) -> EllipticCurvePublicKey:
    """Read a public key.

    Raises:
        ConfigurationError: missing, too large, or not an EC public key in PEM.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if public.stat().st_size > _MAX_KEY_BYTES:
            raise ValueError("too large")
        key = load_pem_public_key(public.read_bytes())
    except (OSError, ValueError) as error:
        raise _not_a_key(public) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _not_a_key(public)
    return key


def _not_a_key(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not an elliptic-curve key in PEM",
        next_step="name the publisher's public.pem",
    )


def _check_private(private: Path) -> None:
    mode = stat.S_IMODE(private.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(
            f"private key {private} can be read by others (mode {mode:04o})",
            next_step=f"chmod 600 {private}",
        )


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_of(private: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise _not_a_key(private) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _not_a_key(private)
    return _pem(key.public_key())


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
