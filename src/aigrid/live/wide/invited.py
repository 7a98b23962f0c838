"""Which invitations stand, and which sites were dismissed, in a database."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import Column, Float, MetaData, Table, delete, insert, select, update

from aigrid.core.errors import AuthenticationError
from aigrid.live.wide.invitations import Invitation
from aigrid.store.database import TEXT, Database
from aigrid.store.schema import Part, prepare

METADATA = MetaData()
INVITATIONS = Part("invitations", METADATA, version=1)
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

    def is_dismissed(self, site: str) -> bool:
        """Whether a site's certificate counts no longer; asks nobody."""
        return site in self._dismissed


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
