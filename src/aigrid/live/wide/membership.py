"""A site's side of joining a grid on another machine: its identity, and what it keeps of itself."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from aigrid.core.codec import from_plain, to_plain
from aigrid.core.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    StorageError,
    UnavailableError,
)
from aigrid.core.site import Site
from aigrid.live.fabric import Fabric
from aigrid.live.fabric.nkeys import KeyPair
from aigrid.live.fabric.passes import Pass
from aigrid.live.paths import write_aside, write_json
from aigrid.live.wide.certificates import Identity, key_bytes, request_for
from aigrid.live.wide.invitations import Invitation

TIMEOUT_S = 20.0
ANSWER_LIMIT_BYTES = 1024 * 1024
PASS = "identity/fabric.json"


@dataclass(frozen=True, slots=True)
class Membership:
    """What a remote site knows of itself and its grid, in its data directory.

    Attributes:
        folder: the data directory.
        site: who it is.
        host: where gateways reach it.
        port: there.
        listen_port: where the site itself listens, behind a proxy or NAT; the same for 0.
        door: URL of the control plane's door.
        fabric: URL of NATS; empty for the door's own HTTP.
    """

    folder: Path
    site: Site
    host: str
    port: int
    door: str
    fabric: str
    listen_port: int = 0

    @property
    def identity(self) -> Identity:
        """Its certificate."""
        return Identity.within(self.folder / "identity")

    @property
    def trusted_keys(self) -> tuple[Path, ...]:
        """Public keys whose packages it runs."""
        return tuple(sorted((self.folder / "trusted").glob("*.pub")))

    @property
    def way(self) -> Fabric:
        """How it reaches NATS."""
        if not self.fabric:
            return Fabric()
        return Fabric(self.fabric, Pass.load(self.folder / PASS), self.identity.ca)

    @property
    def url(self) -> str:
        """Where gateways call it."""
        return f"https://{self.host}:{self.port}"

    def save(self) -> None:
        """Keep it."""
        told = {k: v for k, v in asdict(self).items() if k not in ("folder", "site")}
        write_json(self.folder / "site.json", told | {"site": to_plain(self.site)}, mode=0o600)

    @classmethod
    def load(cls, folder: Path) -> Membership:
        """What was kept.

        Raises:
            StorageError: no site has joined from this directory.
        """
        try:
            told = json.loads((folder / "site.json").read_text())
            site: Site = from_plain(Site, told.pop("site"), "site.json")
            return cls(folder=folder, site=site, **told)
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"no site has joined from {folder}: {error}",
                next_step="aigrid site join TOKEN --data DIR",
            ) from error


def join(
    token: str, folder: Path, site: Site, host: str, port: int, listen_port: int = 0
) -> Membership:
    """Use an invitation up; the key never leaves this machine.

    Raises:
        ConflictError: a site has joined from this directory already.
        InvalidRequestError: the token is none, or for another site.
        AuthenticationError: the token does not stand any more, or somebody else answers.
        UnavailableError: nobody answers.
    """
    invitation = Invitation.read(token)
    if (folder / "site.json").exists():
        raise ConflictError(
            f"a site has joined from {folder} already", next_step="name another with --data DIR"
        )
    if invitation.site != site.name:
        raise InvalidRequestError(f"the token is for site {invitation.site!r}, not {site.name!r}")
    key = ec.generate_private_key(ec.SECP256R1())
    asked = {
        "secret": invitation.secret,
        "site": to_plain(site),
        "csr": request_for(key, site.name).decode(),
        "hosts": [host],
        "fabric_key": (user := KeyPair.new("user")).public,
    }
    context = ssl.create_default_context(cadata=invitation.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    told = call(invitation.url, "/enter/v1/certificate", asked, context)
    joined = Membership(folder, site, host, port, invitation.url, str(told["fabric"]), listen_port)
    _write_identity(joined.identity, key, told["certificate"], invitation.authority)
    _write_pass(joined, user, told)
    for number, text in enumerate(told["trusted_keys"]):
        write_aside(folder / "trusted" / f"{number}.pub", text.encode())
    joined.save()
    return joined


def renew(joined: Membership) -> None:
    """Get the next certificate, with a key of its own, and the next pass for the fabric.

    Raises:
        AuthenticationError: the site was dismissed.
        UnavailableError: nobody answers.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    had = Pass.load(joined.folder / PASS)
    user = KeyPair.read(had.seed) if had else KeyPair.new("user")
    asked = {"csr": request_for(key, joined.site.name).decode(), "hosts": [joined.host]}
    asked["fabric_key"] = user.public
    told = call(joined.door, "/grid/v1/renew", asked, joined.identity.client())
    _write_identity(joined.identity, key, told["certificate"], None)
    _write_pass(joined, user, told)


def _write_pass(joined: Membership, user: KeyPair, told: dict[str, Any]) -> None:
    if told.get("fabric_token"):
        Pass(user.seed, told["fabric_token"]).save(joined.folder / PASS)


def _write_identity(
    identity: Identity, key: ec.EllipticCurvePrivateKey, certificate: str, authority: bytes | None
) -> None:
    identity.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if authority is not None:
        write_aside(identity.ca, ssl.DER_cert_to_PEM_cert(authority).encode())
    write_aside(identity.key, key_bytes(key), mode=0o600)
    write_aside(identity.certificate, certificate.encode())


def call(url: str, path: str, body: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    """One call of the door.

    Raises:
        AuthenticationError: it refuses, or it is not this grid's.
        UnavailableError: nobody answers.
        InvalidRequestError: it does not take what was said.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=context
    )
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        told: dict[str, Any] = json.loads(response.read(ANSWER_LIMIT_BYTES))
    except ssl.SSLCertVerificationError as error:
        raise AuthenticationError(
            f"{url} is not the grid of this token: {error.verify_message}",
            next_step="ask the operator for a new token",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(
            f"{url} does not answer: {error}", next_step="check address, port and firewall"
        ) from error
    finally:
        connection.close()
    if response.status == 401:
        raise AuthenticationError(str(told.get("error", {}).get("message", told)))
    if response.status != 200:
        raise InvalidRequestError(str(told.get("error", {}).get("message", told)))
    return told
