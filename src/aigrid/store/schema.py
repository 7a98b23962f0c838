"""Tables of a database with their version: made on first use, brought up to date in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, MetaData, text

from aigrid.core.errors import StorageError
from aigrid.store.database import Database


@dataclass(frozen=True, slots=True)
class Part:
    """Tables that belong together and have one version.

    Attributes:
        name: of the part; its version stands in the table `NAME_schema`.
        tables: in their newest form.
        version: of that form.
        steps: statements that lead to a version from the one before it.
    """

    name: str
    tables: MetaData
    version: int
    steps: Mapping[int, Sequence[str]] = field(default_factory=dict)


def prepare(database: Database, part: Part) -> bool:
    """Make the tables, or bring older ones up to date, in one transaction.

    Returns:
        whether they were made now.

    Raises:
        StorageError: they are of a newer aigrid, or too old.
        UnavailableError: the database is away.
    """
    with database.transaction() as connection:
        if database.server:  # two first starts at once make the tables one after the other
            connection.execute(text("select pg_advisory_xact_lock(6278164)"))
        connection.execute(
            text(f"create table if not exists {part.name}_schema (version integer primary key)")
        )
        found = connection.execute(text(f"select max(version) from {part.name}_schema")).scalar()
        if found is None:
            part.tables.create_all(connection)
            _note(connection, part)
            return True
        if found != part.version:
            _bring_up(connection, part, int(found), database.shown)
        return False


def _bring_up(connection: Connection, part: Part, found: int, shown: str) -> None:
    missing = [v for v in range(found + 1, part.version + 1) if v not in part.steps]
    if found > part.version or missing:
        raise StorageError(
            f"{shown} has schema {found} of {part.name}, this aigrid knows {part.version}",
            next_step="use the aigrid that wrote it, or restore a backup of this one's",
        )
    for version in range(found + 1, part.version + 1):
        for statement in part.steps[version]:
            connection.execute(text(statement))
    connection.execute(text(f"delete from {part.name}_schema"))
    _note(connection, part)


def _note(connection: Connection, part: Part) -> None:
    connection.execute(
        text(f"insert into {part.name}_schema values (:version)"), {"version": part.version}
    )
