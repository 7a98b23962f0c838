"""The last rollout of each service, remembered beyond a restart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, MetaData, Table, select

from aigrid.core.codec import from_plain
from aigrid.core.rollout import RolloutPlan
from aigrid.live.kept_rows import KeptRows
from aigrid.store.database import TEXT, Database
from aigrid.store.schema import Part

METADATA = MetaData()
ROLLOUTS = Part("rollout", METADATA, version=1)
ROLLOUT = Table(
    "rollout",
    METADATA,
    Column("service", TEXT, primary_key=True),
    Column("rollout", TEXT, nullable=False),
    Column("version", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("old_version", TEXT, nullable=False),
    Column("old_digest", TEXT, nullable=False),
    Column("plan", TEXT, nullable=False),
    Column("phase", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("retired", Boolean, nullable=False),
    Column("began_at_s", Float, nullable=False),
    Column("ended_at_s", Float, nullable=False),
    Column("seen", TEXT, nullable=False),
)


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One rollout.

    Attributes:
        service: whose version changes.
        rollout: its name.
        version: on trial.
        digest: of its package.
        old_version: deployed when it began.
        old_digest: of its package.
        plan: its dials.
        phase: one of `core.rollout.PHASES`.
        reason: of that phase, one line.
        retired: the losing version stands nowhere any more.
        began_at_s: Unix time.
        ended_at_s: likewise; 0 before.
        seen: figures of both versions at the end, for people.
    """

    service: str
    rollout: str
    version: str
    digest: str
    old_version: str
    old_digest: str
    plan: RolloutPlan
    phase: str = "loading"
    reason: str = "no site serves it yet"
    retired: bool = False
    began_at_s: float = 0.0
    ended_at_s: float = 0.0
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it was decided."""
        return self.phase in ("promoted", "rolled_back")


class RolloutBook(KeptRows):
    """Rollouts in a database; what was read last is known while that is away.

    Args:
        database: that holds them; this process alone writes them.

    Raises:
        UnavailableError: the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._known: dict[str, RolloutRecord] = {}
        super().__init__(database, ROLLOUTS)

    def all(self) -> list[RolloutRecord]:
        """The last of each service, by service."""
        return list(self._known.values())

    def get(self, service: str) -> RolloutRecord | None:
        """The last of a service."""
        return self._known.get(service)

    def put(self, record: RolloutRecord) -> None:
        """Remember how one stands, in the place of any other of its service.

        Raises:
            UnavailableError: the database is away.
        """
        row = {name: getattr(record, name) for name in RolloutRecord.__dataclass_fields__}
        row |= {"plan": json.dumps(asdict(record.plan)), "seen": json.dumps(record.seen)}
        made = self._database.insert(ROLLOUT).values(**row)
        self._change(made.on_conflict_do_update(index_elements=["service"], set_=row))

    def _load(self, connection: Connection) -> None:
        asked = select(ROLLOUT).order_by(ROLLOUT.c.service)
        rows = connection.execute(asked).mappings().all()
        self._known = {row["service"]: _record(dict(row)) for row in rows}


def _record(row: dict[str, Any]) -> RolloutRecord:
    plan = from_plain(RolloutPlan, json.loads(row["plan"]), f"rollout of {row['service']}")
    return RolloutRecord(**row | {"plan": plan, "seen": json.loads(row["seen"])})
