"""HTTP for registries: bounded in time, size and tries; bearer and basic challenges; redirects.

Plain HTTP is for this machine only; everything else goes over TLS. Credentials never follow a
redirect to another host.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from aigrid.core.errors import (
    AuthenticationError,
    TooLargeError,
    UnavailableError,
)
from aigrid.store.durable import CHUNK_BYTES
from aigrid.store.references import is_loopback

_MAX_BODY_BYTES = 4 << 20
_MAX_REDIRECTS = 3
_RETRIED = (429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to answer a registry's challenge; all empty for an open registry.

    Attributes:
        user: for basic authentication, or to fetch a bearer token.
        password: likewise.
        token: a bearer token that is sent as it is.
        tls: a client's certificate and the authority it trusts; then even loopback speaks TLS.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Credentials:
        """`AIGRID_REGISTRY_USER`, `AIGRID_REGISTRY_PASSWORD` and `AIGRID_REGISTRY_TOKEN`."""
        prefix = "AIGRID_REGISTRY_"
        user, password, token = (
            environment.get(prefix + k, "") for k in ("USER", "PASSWORD", "TOKEN")
        )
        return cls(user, password, token)

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header; empty without a user."""
        if not self.user:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transfer.

    Attributes:
        timeout_s: for connecting, and for each read or write.
        attempts: how often a request is tried.
        backoff_s: wait before the second try; doubles each time.
    """

    timeout_s: float = 30.0
    attempts: int = 3
    backoff_s: float = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and a small body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport:
    """Talks to one registry host.

    Args:
        host: `host` or `host:port`.
        credentials: for its challenges.
        limits: bounds of each transfer.
    """

    def __init__(self, host: str, credentials: Credentials, limits: Limits) -> None:
        plain = is_loopback(host) and credentials.tls is None
        self.base = f"{'http' if plain else 'https'}://{host}"
        self._host = host
        self._credentials = credentials
        self._limits = limits
        self._authorization = f"Bearer {credentials.token}" if credentials.token else ""

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Path = b"",
        limit_bytes: int = _MAX_BODY_BYTES,
    ) -> Answer:
        """One exchange with a small answer.

        Args:
            method: of HTTP.
            url: absolute, or a path on the registry's host.
            headers: to add.
            body: bytes, or a file to stream.
            limit_bytes: the longest answer.

        Raises:
            UnavailableError: the registry cannot be reached or keeps failing.
            AuthenticationError: it does not take the credentials.
            TooLargeError: the answer is over `limit_bytes`.
        """
        with self._open(method, url, headers or {}, body) as response:
            content = _guarded_read(response, limit_bytes + 1, self._host)
            if len(content) > limit_bytes:
                raise TooLargeError(f"{self.base}: the answer to {url} is over {limit_bytes} bytes")
            return Answer(response.status, _headers(response), content)

    @contextmanager
    def download(self, url: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The status and the body of a large answer, chunk by chunk.

        Raises:
            UnavailableError, AuthenticationError: as `request`; also while reading.
        """
        with self._open("GET", url, {}, b"") as response:
            yield response.status, _chunks(response, self._host)

    @contextmanager
    def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Path
    ) -> Iterator[http.client.HTTPResponse]:
        connection, response = self._answered(method, urljoin(self.base, url), headers, body)
        try:
            yield response
        finally:
            response.close()
            connection.close()

    def _answered(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Path
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Follow challenges and redirects until there is an answer to keep."""
        challenged = False
        for _ in range(_MAX_REDIRECTS + 2):
            connection, response = self._tried(method, url, headers, body)
            if response.status == 401 and not challenged:
                challenged = True
                challenge = response.headers.get("WWW-Authenticate", "")
                connection.close()
                self._authorization = self._answer_challenge(challenge)
            elif response.status in _REDIRECTS and method in ("GET", "HEAD"):
                location = response.headers.get("Location", "")
                connection.close()
                url = urljoin(url, location)
            elif response.status in (401, 403):
                connection.close()
                raise self._refused(response.status)
            else:
                return connection, response
        raise UnavailableError(
            f"registry {self._host} redirects too often", next_step="check its address"
        )

    def _tried(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Path
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        trouble = ""
        for attempt in range(self._limits.attempts):
            if attempt:
                time.sleep(self._limits.backoff_s * 2 ** (attempt - 1))
            connection = self._connection(url)
            try:
                response = self._send(connection, method, url, headers, body)
            except ssl.SSLCertVerificationError as error:
                connection.close()
                raise UnavailableError(
                    f"registry {self._host}: {error.verify_message}",
                    next_step="install its certificate",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                trouble = str(error) or type(error).__name__
                continue
            if response.status not in _RETRIED:
                return connection, response
            connection.close()
            trouble = f"HTTP {response.status} {response.reason}"
        raise UnavailableError(
            f"registry {self._host} does not answer: {trouble} ({self._limits.attempts} tries)",
            next_step="check its address and that it runs",
        )

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Path,
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": "aigrid", "Connection": "close", **headers}
        # Object stores behind a registry must not see its credentials.
        if self._authorization and parts.netloc == self._host:
            sent.setdefault("Authorization", self._authorization)
        if isinstance(body, Path):
            with body.open("rb") as stream:
                sent["Content-Length"] = str(body.stat().st_size)
                connection.request(method, target, stream, sent)
        else:
            connection.request(method, target, body or None, sent)
        return connection.getresponse()

    def _connection(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        timeout_s = self._limits.timeout_s
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                parts.netloc,
                timeout=timeout_s,
                blocksize=CHUNK_BYTES,
                context=self._credentials.tls,
            )
        if parts.scheme != "http" or not is_loopback(parts.netloc):
            raise UnavailableError(
                f"registry {self._host} leads to {url}, which is not over TLS",
                next_step="plain http is for loopback only",
            )
        return http.client.HTTPConnection(parts.netloc, timeout=timeout_s, blocksize=CHUNK_BYTES)

    def _answer_challenge(self, challenge: str) -> str:
        """The Authorization header for a `WWW-Authenticate` challenge (RFC 7235, RFC 6750)."""
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic" and self._credentials.basic:
            return self._credentials.basic
        if scheme == "bearer" and not self._credentials.token:
            fields = dict(_CHALLENGE.findall(challenge))
            if fields.get("realm"):
                return "Bearer " + self._fetch_token(fields)
        raise self._refused(401)

    def _fetch_token(self, fields: dict[str, str]) -> str:
        """Ask the token server that the challenge names (distribution token authentication)."""
        query = urlencode([(k, fields[k]) for k in ("service", "scope") if k in fields])
        url = f"{fields['realm']}?{query}"
        headers = {"Authorization": self._credentials.basic} if self._credentials.basic else {}
        connection, response = self._tried("GET", url, headers, b"")
        try:
            content = json.loads(_guarded_read(response, _MAX_BODY_BYTES, self._host))
            return str(content.get("token") or content["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise self._refused(response.status) from error
        finally:
            connection.close()

    def _refused(self, status: int) -> AuthenticationError:
        return AuthenticationError(
            f"registry {self._host} refuses access (HTTP {status})",
            next_step="set AIGRID_REGISTRY_USER and _PASSWORD, or AIGRID_REGISTRY_TOKEN",
        )


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _guarded_read(response: http.client.HTTPResponse, size: int, host: str) -> bytes:
    try:
        return response.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(host, error) from error


def _chunks(response: http.client.HTTPResponse, host: str) -> Iterator[bytes]:
    while chunk := _guarded_read(response, CHUNK_BYTES, host):
        yield chunk
    # A bounded read ends silently where the connection does; `length` is what is still to come.
    if response.length:
        raise _broken(host, ConnectionError(f"{response.length} bytes are missing"))


def _broken(host: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"registry {host} broke off: {str(error) or type(error).__name__}", next_step="try again"
    )
