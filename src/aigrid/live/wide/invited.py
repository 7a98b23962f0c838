"""Which invitations stand, and which sites were dismissed, in a database."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    MetaData,
    Table,
    delete,
    insert,
    select,
    update,
)

from aigrid.core.errors import AuthenticationError
from aigrid.live.wide.invitations import Invitation
from aigrid.store.database import TEXT, Database
from aigrid.store.schema import Part, prepare

METADATA = MetaData()
_STEPS = {
    2: (
        "create table fabric_key (public_key text primary key, site text not null,"
        " noted_s float not null, revoked_s float)",
    )
}
INVITATIONS = Part("invitations", METADATA, version=2, steps=_STEPS)
INVITATION = Table(
    "invitation",
    METADATA,
    Column("digest", TEXT, primary_key=True),
    Column("site", TEXT, nullable=False),
    Column("expires_s", Float, nullable=False),
    Column("used_at_s", Float),
)
DISMISSED = Table(
    "dismissed",
    METADATA,
    Column("site", TEXT, primary_key=True),
    Column("at_s", Float, nullable=False),
)
FABRIC_KEY = Table(
    "fabric_key",
    METADATA,
    Column("public_key", TEXT, primary_key=True),
    Column("site", TEXT, nullable=False),
    Column("noted_s", Float, nullable=False),
    Column("revoked_s", Float),
)
KEPT_S = 400 * 86400.0  # longer than any key's token


class Invitations:
    """The invitations that stand, and the sites that were dismissed.

    Args:
        database: that holds them; this process alone writes them.

    Raises:
        UnavailableError: the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        prepare(database, INVITATIONS)
        with database.transaction() as connection:
            self._dismissed = set(connection.execute(select(DISMISSED.c.site)).scalars())
            self._revoked = _revoked(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def invite(
        self, url: str, authority: bytes, site: str, now_s: float, for_s: float
    ) -> Invitation:
        """Make an invitation; one for the same site that was not used yet ends with it.

        Raises:
            UnavailableError: the database is away.
        """
        secret = secrets.token_urlsafe(32)
        unused = (INVITATION.c.site == site) & INVITATION.c.used_at_s.is_(None)
        with self._database.transaction() as connection:
            connection.execute(delete(INVITATION).where(unused))
            connection.execute(
                insert(INVITATION).values(
                    digest=_digest(secret), site=site, expires_s=now_s + for_s
                )
            )
            connection.execute(delete(DISMISSED).where(DISMISSED.c.site == site))
        self._dismissed.discard(site)
        return Invitation(url, authority, site, secret)

    def use(self, secret: str, site: str, now_s: float) -> None:
        """Use an invitation up.

        Raises:
            AuthenticationError: unknown, used already, too old, or of another site: not said which.
            UnavailableError: the database is away.
        """
        stands = (
            (INVITATION.c.digest == _digest(secret))
            & (INVITATION.c.site == site)
            & INVITATION.c.used_at_s.is_(None)
            & (INVITATION.c.expires_s > now_s)
        )
        with self._database.transaction() as connection:
            used = connection.execute(update(INVITATION).where(stands).values(used_at_s=now_s))
        if used.rowcount != 1:
            raise AuthenticationError(
                f"the join token of site {site!r} does not stand",
                next_step="ask the operator for a new one: aigrid site invite NAME",
            )

    def dismiss(self, site: str, now_s: float) -> None:
        """Let a site's certificate count no longer.

        Raises:
            UnavailableError: the database is away; until the next start it counts no longer.
        """
        self._dismissed.add(site)
        made = self._database.insert(DISMISSED).values(site=site, at_s=now_s)
        made = made.on_conflict_do_update(index_elements=["site"], set_={"at_s": now_s})
        with self._database.transaction() as connection:
            connection.execute(made)
            _revoke(connection, FABRIC_KEY.c.site == site, now_s)
            self._revoked = _revoked(connection)

    def note_key(self, public_key: str, site: str, now_s: float) -> None:
        """Let a key be a site's on the fabric; those that it had before count no longer.

        Raises:
            UnavailableError: the database is away.
        """
        others = (FABRIC_KEY.c.site == site) & (FABRIC_KEY.c.public_key != public_key)
        told = {"site": site, "noted_s": now_s}
        made = self._database.insert(FABRIC_KEY).values(public_key=public_key, **told)
        made = made.on_conflict_do_update(index_elements=["public_key"], set_=told)
        with self._database.transaction() as connection:
            connection.execute(delete(FABRIC_KEY).where(FABRIC_KEY.c.noted_s < now_s - KEPT_S))
            connection.execute(made)
            _revoke(connection, others, now_s)
            self._revoked = _revoked(connection)

    def revoked(self) -> frozenset[str]:
        """Keys that count no longer on the fabric; asks nobody."""
        return self._revoked

    def is_dismissed(self, site: str) -> bool:
        """Whether a site's certificate counts no longer; asks nobody."""
        return site in self._dismissed


def _revoke(connection: Connection, which: ColumnElement[bool], now_s: float) -> None:
    still = which & FABRIC_KEY.c.revoked_s.is_(None)
    connection.execute(update(FABRIC_KEY).where(still).values(revoked_s=now_s))


def _revoked(connection: Connection) -> frozenset[str]:
    which = FABRIC_KEY.c.revoked_s.is_not(None)
    return frozenset(connection.execute(select(FABRIC_KEY.c.public_key).where(which)).scalars())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
