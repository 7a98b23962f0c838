"""What the control plane must not forget: deployed services, in SQLite (WAL)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aigrid.core.errors import NotFoundError, StorageError

_SCHEMA = """
create table if not exists deployment (
    name text primary key,
    version text not null,
    digest text not null,
    deployed_at_s real not null
) strict;
create table if not exists hold (site text primary key, hold text not null) strict;
"""
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """A service that shall run."""

    name: str
    version: str
    digest: str
    deployed_at_s: float


class Ledger:
    """The control plane's database; every call is one transaction on a connection of its own.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as connection:
            connection.executescript(_SCHEMA)
            found = connection.execute("pragma user_version").fetchone()[0]
            if found not in (0, SCHEMA_VERSION):
                raise StorageError(
                    f"{path} has schema {found}, this aigrid knows {SCHEMA_VERSION}",
                    next_step="use the aigrid that wrote it, or another --data directory",
                )
            connection.execute(f"pragma user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=5.0)
            try:
                connection.execute("pragma journal_mode = wal")
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StorageError(
                f"database {self._path}: {error}", next_step="check free space and permissions"
            ) from error

    def put(self, deployment: Deployment) -> None:
        """Remember a deployment, replacing an older version of the same name."""
        with self._connect() as connection:
            connection.execute(
                "insert or replace into deployment values (?, ?, ?, ?)",
                (
                    deployment.name,
                    deployment.version,
                    deployment.digest,
                    deployment.deployed_at_s,
                ),
            )

    def remove(self, name: str) -> None:
        """Forget a deployment.

        Raises:
            NotFoundError: it is not deployed.
        """
        with self._connect() as connection:
            if not connection.execute("delete from deployment where name = ?", (name,)).rowcount:
                raise NotFoundError(
                    f"service {name!r} is not deployed", next_step="see `aigrid status`"
                )

    def hold(self, site: str, hold: str) -> None:
        """Remember that a site is held back, or that it is free again."""
        with self._connect() as connection:
            if hold == "free":
                connection.execute("delete from hold where site = ?", (site,))
            else:
                connection.execute("insert or replace into hold values (?, ?)", (site, hold))

    def holds(self) -> dict[str, str]:
        """Sites that are held back."""
        with self._connect() as connection:
            return dict(connection.execute("select site, hold from hold order by site").fetchall())

    def all(self) -> list[Deployment]:
        """Every deployment, oldest first."""
        with self._connect() as connection:
            rows = connection.execute(
                "select name, version, digest, deployed_at_s from deployment"
                " order by deployed_at_s, name"
            ).fetchall()
        return [Deployment(*row) for row in rows]
