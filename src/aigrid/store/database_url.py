"""Where a database is: a URL as libpq writes it, or a file that holds one.

PostgreSQL documentation, 34.1.1 "Connection Strings": `postgresql://USER:PASSWORD@HOST:PORT/NAME`
with `host`, `sslmode` and `sslrootcert` as parameters. A password is shown nowhere.
"""

from __future__ import annotations

import getpass
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from aigrid.core.errors import ConfigurationError

ANSWER_S = 10.0  # for a connection, and for each answer on it
PORT = 5432
DRIVER = "postgresql+pg8000"
NAMES = ("postgresql", "postgres", DRIVER)
SSL_MODES = ("disable", "require", "verify-full")
FILE_LIMIT_BYTES = 4096
FORM = "postgresql://USER:PASSWORD@HOST:PORT/NAME"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database's address.

    Attributes:
        sqlite: the file; None for a server.
        options: of the driver's connection, for a server.
        shown: the URL without its password.
    """

    sqlite: Path | None
    shown: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def driver_url(self) -> URL:
        """For SQLAlchemy; a server's address goes to the driver apart from it."""
        if self.sqlite is not None:
            return URL.create("sqlite", database=str(self.sqlite.absolute()))
        return URL.create(DRIVER)


def read_url(given: str) -> str:
    """The URL that a person gave, or that stands in the file which they gave as `@FILE`.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if not given.startswith("@"):
        return given
    try:
        with Path(given[1:]).expanduser().open() as file:
            return file.read(FILE_LIMIT_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not text"
        raise ConfigurationError(
            f"database file {given[1:]}: {said}", next_step=f"put one line there: {FORM}"
        ) from error


def parse_url(url: str) -> DatabaseUrl:
    """Take a URL apart.

    Raises:
        ConfigurationError: it names no database we know, or an option that we do not.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # its message would repeat the URL, and so the password
        raise _unknown("it is no URL") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername == "sqlite" and parsed.database:
        return DatabaseUrl(Path(parsed.database), shown)
    if parsed.drivername not in NAMES:
        raise _unknown(f"{shown!r} is of another kind")
    query = {k: v if isinstance(v, str) else v[-1] for k, v in parsed.query.items()}
    unknown = set(query) - {"host", "sslmode", "sslrootcert"}
    if unknown:
        raise _unknown(f"option {min(unknown)!r} of {shown} is unknown")
    if not parsed.database:
        raise _unknown(f"{shown} names no database")
    host = query.get("host") or parsed.host or "localhost"
    options: dict[str, Any] = {
        "user": parsed.username or getpass.getuser(),
        "password": parsed.password,
        "database": parsed.database,
        "timeout": ANSWER_S,
        "application_name": "aigrid",
    }
    if host.startswith("/"):
        options |= {"unix_sock": f"{host}/.s.PGSQL.{parsed.port or PORT}", "ssl_context": False}
    else:
        tls = _tls(query.get("sslmode", ""), query.get("sslrootcert"), host, shown)
        options |= {"host": host, "port": parsed.port or PORT, "ssl_context": tls}
    return DatabaseUrl(None, shown, options)


def _tls(mode: str, authority: str | None, host: str, shown: str) -> ssl.SSLContext | bool:
    """TLS as `sslmode` says; without one, in the clear on loopback and verified elsewhere."""
    mode = mode or ("disable" if _loopback(host) else "verify-full")
    if mode not in SSL_MODES:
        raise _unknown(f"sslmode {mode!r} of {shown} is none of {', '.join(SSL_MODES)}")
    if mode == "disable":
        return False
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"sslrootcert {authority!r} of {shown} cannot be used: {error}",
            next_step="give a file of certificates in PEM",
        ) from error
    if mode == "require":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unknown(said: str) -> ConfigurationError:
    return ConfigurationError(f"database: {said}", next_step=f"give {FORM}")
