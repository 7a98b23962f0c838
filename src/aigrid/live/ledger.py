"""What the control plane must not forget: deployed services, and sites that are held back."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Float, MetaData, Table, delete, select

from aigrid.core.errors import NotFoundError, UnavailableError
from aigrid.store.database import TEXT, Database
from aigrid.store.schema import Part, prepare

METADATA = MetaData()
CONTROL = Part("control", METADATA, version=1)
DEPLOYMENT = Table(
    "deployment",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("version", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("deployed_at_s", Float, nullable=False),
)
HOLD = Table(
    "hold",
    METADATA,
    Column("site", TEXT, primary_key=True),
    Column("hold", TEXT, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A service that shall run."""

    name: str
    version: str
    digest: str
    deployed_at_s: float


class Ledger:
    """Deployments and holds in a database; what was read last is known while that is away.

    Args:
        database: that holds them; this process alone writes them.

    Raises:
        UnavailableError: the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        prepare(database, CONTROL)
        self._lock = threading.Lock()
        self._deployed: list[Deployment] = []
        self._held: dict[str, str] = {}
        self._sure = False
        self._read()

    def put(self, deployment: Deployment) -> None:
        """Remember a deployment, replacing an older version of the same name.

        Raises:
            UnavailableError: the database is away.
        """
        row = {
            "name": deployment.name,
            "version": deployment.version,
            "digest": deployment.digest,
            "deployed_at_s": deployment.deployed_at_s,
        }
        made = self._database.insert(DEPLOYMENT).values(**row)
        self._change(made.on_conflict_do_update(index_elements=["name"], set_=row))

    def remove(self, name: str) -> None:
        """Forget a deployment.

        Raises:
            NotFoundError: it is not deployed.
            UnavailableError: the database is away.
        """
        if not self._change(delete(DEPLOYMENT).where(DEPLOYMENT.c.name == name)):
            raise NotFoundError(
                f"service {name!r} is not deployed", next_step="see `aigrid status`"
            )

    def hold(self, site: str, hold: str) -> None:
        """Remember that a site is held back, or that it is free again.

        Raises:
            UnavailableError: the database is away.
        """
        if hold == "free":
            self._change(delete(HOLD).where(HOLD.c.site == site))
            return
        made = self._database.insert(HOLD).values(site=site, hold=hold)
        self._change(made.on_conflict_do_update(index_elements=["site"], set_={"hold": hold}))

    def holds(self) -> dict[str, str]:
        """Sites that are held back."""
        return dict(self._held)

    def all(self) -> list[Deployment]:
        """Every deployment, oldest first."""
        return list(self._deployed)

    def recheck(self) -> None:
        """Read again where a change was not confirmed: it may stand all the same.

        Raises:
            UnavailableError: the database is away; what was known stands.
        """
        if not self._sure:
            self._read()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _change(self, statement: Any) -> int:
        """Execute one statement; the number of rows that it met."""
        self._sure = False
        with self._database.transaction() as connection:
            met: int = connection.execute(statement).rowcount
        with suppress(UnavailableError):  # it is done; what follows from it is read later
            self._read()
        return met

    def _read(self) -> None:
        asked = select(DEPLOYMENT).order_by(DEPLOYMENT.c.deployed_at_s, DEPLOYMENT.c.name)
        with self._lock, self._database.transaction() as connection:
            rows = connection.execute(asked).mappings().all()
            holds = connection.execute(select(HOLD).order_by(HOLD.c.site)).all()
            self._deployed = [Deployment(**row) for row in rows]
            self._held = {row.site: row.hold for row in holds}
            self._sure = True
