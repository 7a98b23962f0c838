"""One-time tokens by which a site joins from another machine."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aigrid.core.errors import AuthenticationError, InvalidRequestError, StorageError

VERSION = 1
LIMIT_CHARACTERS = 4096
_SCHEMA = """
create table if not exists invitation (
    digest text primary key,
    site text not null,
    expires_s real not null,
    used_at_s real
) strict;
create table if not exists dismissed (site text primary key, at_s real not null) strict;
"""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a join token says to the site that holds it.

    Attributes:
        url: of the door.
        authority: the grid's certificate, DER: whoever else answers is refused.
        site: the name that the holder will have.
        secret: known to the holder alone; the grid keeps its digest.
    """

    url: str
    authority: bytes
    site: str
    secret: str

    def token(self) -> str:
        """As one word, for a command line."""
        told = {
            "v": VERSION,
            "url": self.url,
            "ca": base64.b64encode(self.authority).decode(),
            "site": self.site,
            "secret": self.secret,
        }
        return "join-" + base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, token: str) -> Invitation:
        """Read a token.

        Raises:
            InvalidRequestError: it is none, or of another version.
        """
        try:
            if not token.startswith("join-") or len(token) > LIMIT_CHARACTERS:
                raise ValueError("it does not look like one")
            body = token.removeprefix("join-")
            told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            if told["v"] != VERSION:
                raise ValueError(f"version {told['v']}")
            return cls(told["url"], base64.b64decode(told["ca"]), told["site"], told["secret"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequestError(
                f"join token: {error}", next_step="copy the whole line of `aigrid site invite`"
            ) from error


class Invitations:
    """The invitations that stand, and the sites that were dismissed; in SQLite.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=5.0)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            raise StorageError(f"database {self._path}: {error}") from error

    def invite(
        self, url: str, authority: bytes, site: str, now_s: float, for_s: float
    ) -> Invitation:
        """Make an invitation; one for the same site that was not used yet ends with it."""
        secret = secrets.token_urlsafe(32)
        with self._connect() as connection:
            connection.execute(
                "delete from invitation where site = ? and used_at_s is null", (site,)
            )
            connection.execute(
                "insert into invitation values (?, ?, ?, null)",
                (_digest(secret), site, now_s + for_s),
            )
            connection.execute("delete from dismissed where site = ?", (site,))
        return Invitation(url, authority, site, secret)

    def use(self, secret: str, site: str, now_s: float) -> None:
        """Use an invitation up.

        Raises:
            AuthenticationError: unknown, used already, too old, or of another site: not said which.
        """
        with self._connect() as connection:
            used = connection.execute(
                "update invitation set used_at_s = ? where digest = ? and site = ?"
                " and used_at_s is null and expires_s > ?",
                (now_s, _digest(secret), site, now_s),
            ).rowcount
        if used != 1:
            raise AuthenticationError(
                f"the join token of site {site!r} does not stand",
                next_step="ask the operator for a new one: aigrid site invite NAME",
            )

    def dismiss(self, site: str, now_s: float) -> None:
        """Let a site's certificate count no longer."""
        with self._connect() as connection:
            connection.execute("insert or replace into dismissed values (?, ?)", (site, now_s))

    def is_dismissed(self, site: str) -> bool:
        """Whether a site's certificate counts no longer."""
        with self._connect() as connection:
            found = connection.execute("select 1 from dismissed where site = ?", (site,)).fetchone()
        return found is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
