"""What the control plane must not forget: deployed services, and sites that are held back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Float, MetaData, Table, delete, select

from aigrid.core.errors import NotFoundError
from aigrid.live.kept_rows import KeptRows
from aigrid.store.database import TEXT, Database
from aigrid.store.schema import Part

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


class Ledger(KeptRows):
    """Deployments and holds in a database; what was read last is known while that is away.

    Args:
        database: that holds them; this process alone writes them.

    Raises:
        UnavailableError: the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._deployed: list[Deployment] = []
        self._held: dict[str, str] = {}
        super().__init__(database, CONTROL)

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

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _load(self, connection: Connection) -> None:
        asked = select(DEPLOYMENT).order_by(DEPLOYMENT.c.deployed_at_s, DEPLOYMENT.c.name)
        rows = connection.execute(asked).mappings().all()
        holds = connection.execute(select(HOLD).order_by(HOLD.c.site)).all()
        self._deployed = [Deployment(**row) for row in rows]
        self._held = {row.site: row.hold for row in holds}
