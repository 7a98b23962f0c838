"""The grid's own certificate authority, and TLS where both ends show a certificate.

X.509 (RFC 5280) with ECDSA over P-256 and SHA-256. The common name is the site's or process's
name, the organisational unit its role: `site`, `gateway` or `control`.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aigrid.core.errors import InvalidRequestError, StorageError
from aigrid.live.paths import write_aside

CA_DAYS = 3650
DAYS = 90
RENEW_AFTER = 2 / 3
_BACK = datetime.timedelta(days=1)  # the clock of whoever looks at it may be wrong


@dataclass(frozen=True, slots=True)
class Identity:
    """Files by which a process shows who it is and knows its peers.

    Attributes:
        ca: the grid's certificate.
        certificate: its own.
        key: its own, mode 0600.
    """

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def within(cls, folder: Path) -> Identity:
        """The usual names in a folder."""
        return cls(folder / "ca.crt", folder / "own.crt", folder / "own.key")

    def client(self) -> ssl.SSLContext:
        """TLS for calls to members of this grid."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        return context

    def server(self, *, everybody_shows: bool) -> ssl.SSLContext:
        """TLS for a door; a certificate that is shown must be this grid's.

        Args:
            everybody_shows: refuse who shows none; else the application looks.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(str(self.ca))
        context.verify_mode = ssl.CERT_REQUIRED if everybody_shows else ssl.CERT_OPTIONAL
        return context

    def left(self, now: datetime.datetime) -> float:
        """Part of the certificate's life that is left: 1 new, 0 or less expired."""
        own = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        life = own.not_valid_after_utc - own.not_valid_before_utc
        return (own.not_valid_after_utc - now) / life


class Authority:
    """The grid's certificate authority; made on first use.

    Args:
        folder: of its key, mode 0700.

    Raises:
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "ca.crt"
        key_file = folder / "ca.key"
        if not key_file.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = ec.generate_private_key(ec.SECP256R1())
            write_aside(self.file, _self_signed(key).public_bytes(serialization.Encoding.PEM))
            write_aside(key_file, key_bytes(key), mode=0o600)
        try:
            loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
            self.certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"certificate authority in {folder}: {error}", next_step="restore it from a backup"
            ) from error
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded

    @property
    def der(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def sign(
        self,
        public_key: ec.EllipticCurvePublicKey,
        name: str,
        role: str,
        hosts: Sequence[str],
        days: int = DAYS,
    ) -> bytes:
        """A certificate, PEM.

        Args:
            public_key: of the holder.
            name: of the site or process.
            role: `site`, `gateway` or `control`.
            hosts: addresses and DNS names under which it is called.
            days: of its life.
        """
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name, role))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACK)
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign_request(self, csr: bytes, name: str, role: str, hosts: Sequence[str]) -> bytes:
        """A certificate for who holds the key of a signing request; only its key is looked at.

        Raises:
            InvalidRequestError: not a signing request for a P-256 key, or not signed by it.
        """
        try:
            request = x509.load_pem_x509_csr(csr)
            valid = request.is_signature_valid
        except ValueError as error:
            raise InvalidRequestError(f"certificate request: {error}") from error
        key = request.public_key()
        if not (
            valid
            and isinstance(key, ec.EllipticCurvePublicKey)
            and isinstance(key.curve, ec.SECP256R1)
        ):
            raise InvalidRequestError("certificate request: not one of a P-256 key")
        return self.sign(key, name, role, hosts)

    def identity(self, folder: Path, name: str, role: str, hosts: Sequence[str]) -> Identity:
        """Key and certificate of a process beside the authority, made anew; they live as long."""
        identity = Identity.within(folder)
        key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_aside(identity.key, key_bytes(key), mode=0o600)
        write_aside(identity.certificate, self.sign(key.public_key(), name, role, hosts, CA_DAYS))
        write_aside(identity.ca, self.certificate.public_bytes(serialization.Encoding.PEM))
        return identity


def request_for(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A certificate signing request, PEM (PKCS #10, RFC 2986)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name, "site"))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key, PEM (PKCS #8), not encrypted: its file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aigrid grid authority")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _name(name: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
