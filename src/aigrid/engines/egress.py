"""Where upstream engines may connect to, and whose key they may show there.

A package names an address and the path of a key's file; whoever may publish and deploy packages
thus has a site's computer ask on their behalf (server-side request forgery, CWE-918), or read a
file to them. So a site connects to public addresses only, and reads no key, except for what its own
operator has granted: in a file of the site's data directory, `upstreams.json`.

    {"networks": ["127.0.0.1/32"], "keys": [["http://127.0.0.1:8080/v1", "key.txt"]]}

Addresses are checked as the connection is made, after names are resolved, so that a name that
changes its address (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aigrid.core.errors import ConfigurationError, PermissionDeniedError
from aigrid.core.package import UpstreamTarget

FILE = "upstreams.json"
GRANTS_LIMIT = 1024
FILE_LIMIT_BYTES = 1024 * 1024
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]  # of socket.getaddrinfo
# Public by number, and yet inside: Azure's host; NAT64 (RFC 6052) leads to any IPv4 address.
_INSIDE = (ipaddress.ip_network("168.63.129.16/32"),)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Grants:
    """What an operator granted.

    Attributes:
        networks: beyond the public ones.
        keys: base URL and file of each key that may be shown.
    """

    networks: tuple[Network, ...] = ()
    keys: frozenset[tuple[str, str]] = frozenset()


@dataclass(slots=True)
class Egress:
    """Rules of one site; the file is read again when it has changed.

    Attributes:
        path: of the grants; None grants nothing.
    """

    path: Path | None = None
    _seen: tuple[int, int] = (0, -1)
    _grants: Grants = field(default_factory=Grants)

    def check_address(self, text: str) -> None:
        """Whether a connection may go to an IP address.

        Raises:
            PermissionDeniedError: it is not public, and not granted.
        """
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address in network for network in self.grants().networks):
            return
        inner = _inner(address)
        if not is_public(inner):
            raise PermissionDeniedError(
                f"upstream address {text} is not public",
                next_step="the site's operator grants it with"
                " `aigrid deploy --upstream URL --allow-private`",
            )

    def socket(self, info: AddrInfo) -> socket.socket:
        """A socket for one address that a connection is about to try; see aiohttp's connector.

        Raises:
            PermissionError: it may not go there.
        """
        family, kind, protocol, _, address = info
        try:
            self.check_address(str(address[0]))
        except PermissionDeniedError as error:
            raise PermissionError(errno.EACCES, error.message) from error
        return socket.socket(family, kind, protocol)

    def check(self, target: UpstreamTarget) -> None:
        """Whether a package may be served at all, as far as that is known before it asks.

        Raises:
            PermissionDeniedError: see `check_address` and `check_key`.
        """
        if target.key_file:
            self.check_key(target)
        for address in addresses_of(target.base_url):
            self.check_address(address)

    def check_key(self, target: UpstreamTarget) -> None:
        """Whether a key's file may be read and shown to a server.

        Raises:
            PermissionDeniedError: nobody granted it.
        """
        if (target.base_url, target.key_file) not in self.grants().keys:
            raise PermissionDeniedError(
                f"key_file {target.key_file} is not granted for {target.base_url}",
                next_step="the site's operator grants it with"
                " `aigrid deploy --upstream URL --key-file FILE`",
            )

    def grants(self) -> Grants:
        """What is granted now.

        Raises:
            ConfigurationError: the file is no such file.
        """
        if self.path is None:
            return self._grants
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._seen, self._grants = (0, -1), Grants()
            return self._grants
        if (found.st_mtime_ns, found.st_size) != self._seen:
            self._grants = read_grants(self.path)
            self._seen = (found.st_mtime_ns, found.st_size)
        return self._grants


def addresses_of(url: str) -> list[str]:
    """IP addresses of a URL's host now; none where its name is not known."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(info[4][0]) for info in found})


def read_grants(path: Path) -> Grants:
    """Read a file of grants.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        with path.open("rb") as file:
            raw: Any = json.loads(file.read(FILE_LIMIT_BYTES))
        if not set(raw) <= {"networks", "keys"}:
            raise ValueError(f"unknown keys: {sorted(set(raw) - {'networks', 'keys'})}")
        networks = tuple(ipaddress.ip_network(text) for text in raw.get("networks", []))
        keys = frozenset((str(url), str(key)) for url, key in raw.get("keys", []))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: {error}", next_step='write {"networks": ["10.0.0.0/8"], "keys": []}'
        ) from error
    return Grants(networks[:GRANTS_LIMIT], keys)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public Internet, and to no machine's own network."""
    inside = any(address in network for network in _INSIDE)
    return address.is_global and not address.is_multicast and not inside


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to in the end; itself where it leads to none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
