"""How people name a package: `NAME[:VERSION]`, `NAME@sha256:...` or `oci://host:port/name:tag`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aigrid.core.errors import InvalidRequestError

# Grammar of repository names and tags: OCI distribution specification 1.1, "Pulling manifests".
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?")
_MAX_NAME = 255
OCI_SCHEME = "oci://"


@dataclass(frozen=True, slots=True)
class LocalReference:
    """A package in this store.

    Attributes:
        name: repository name.
        version: tag; empty for the latest.
        digest: `sha256:<hex>`; empty when named by version.
    """

    name: str
    version: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else _tagged(self.name, self.version)


@dataclass(frozen=True, slots=True)
class RegistryReference:
    """A package in an OCI registry.

    Attributes:
        host: `host` or `host:port`.
        repository: name within the registry, slashes allowed.
        tag: empty when named by digest, or when the repository as a whole is meant.
        digest: `sha256:<hex>`, or empty.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        base = f"{OCI_SCHEME}{self.host}/{self.repository}"
        return f"{base}@{self.digest}" if self.digest else _tagged(base, self.tag)

    @property
    def is_loopback(self) -> bool:
        """Whether plain HTTP is acceptable: the bytes never leave this machine."""
        return is_loopback(self.host)


Reference = LocalReference | RegistryReference


def parse_reference(text: str) -> Reference:
    """Read a reference as a person writes it.

    Raises:
        InvalidRequestError: it does not have one of the three forms.
    """
    if text.startswith(OCI_SCHEME):
        return parse_registry_reference(text)
    name, version, digest = _split(text, text)
    return LocalReference(name, version, digest)


def parse_registry_reference(text: str) -> RegistryReference:
    """Read `oci://host[:port]/name[:tag]` or `oci://host[:port]/name@sha256:...`.

    Raises:
        InvalidRequestError: it does not have that form.
    """
    host, slash, rest = text.removeprefix(OCI_SCHEME).partition("/")
    if not text.startswith(OCI_SCHEME) or not slash or not _HOST.fullmatch(host):
        raise InvalidRequestError(
            f"{text!r} is not a registry reference", next_step="write oci://host:port/name:tag"
        )
    repository, tag, digest = _split(rest, text)
    return RegistryReference(host, repository, tag, digest)


def check_name(name: str, version: str, origin: str) -> None:
    """Refuse a name or version that a registry could not hold.

    Raises:
        InvalidRequestError: naming `origin`, where the values came from.
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise InvalidRequestError(
            f"{origin}: {name!r} is not a package name",
            next_step="use lower-case letters, digits and single . _ - between them",
        )
    if not _TAG.fullmatch(version):
        raise InvalidRequestError(
            f"{origin}: {version!r} is not a version",
            next_step="use up to 128 letters, digits, dots, dashes and underscores, e.g. 1.0.0",
        )


def is_digest(text: str) -> bool:
    """Whether the text is a whole `sha256:<64 hex digits>` digest."""
    return _DIGEST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether `host` or `host:port` names this machine."""
    return _LOOPBACK.fullmatch(host) is not None


def _split(text: str, whole: str) -> tuple[str, str, str]:
    name, at, digest = text.partition("@")
    name, colon, version = name.partition(":")
    if (at and not is_digest(digest)) or (at and colon) or (colon and not version):
        raise InvalidRequestError(
            f"{whole!r} is not a package reference",
            next_step="write NAME, NAME:VERSION, NAME@sha256:<64 hex digits> or oci://host:port/NAME:TAG",
        )
    check_name(name, version or "latest", repr(whole))
    return name, version, digest


def _tagged(base: str, tag: str) -> str:
    return f"{base}:{tag}" if tag else base
