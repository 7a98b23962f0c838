"""What the control plane must not forget, and where: in SQLite files, or in PostgreSQL."""

from __future__ import annotations

import json
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from aigrid.core.errors import ConfigurationError, ConflictError, UnavailableError
from aigrid.live.ledger import CONTROL, Ledger
from aigrid.live.outage import Outage
from aigrid.live.paths import GridPaths, write_aside, write_json
from aigrid.live.rollout_book import ROLLOUTS, RolloutBook
from aigrid.live.wide.invited import INVITATIONS, Invitations
from aigrid.store.account_tables import ACCOUNTS
from aigrid.store.accounts import Accounts, read_mark, set_mark
from aigrid.store.database import Database, sqlite_url
from aigrid.store.schema import Part, prepare

PARTS = (ACCOUNTS, CONTROL, INVITATIONS, ROLLOUTS)
OWNER = "owner"
WAIT_S = 0.5
COPY_ROWS = 1000
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Records:
    """A grid's database, or its three files.

    Attributes:
        accounts: tenants, keys, grants and usage.
        ledger: deployments and holds.
        invitations: of sites of other machines.
        rollouts: the last one of each service.
    """

    accounts: Accounts
    ledger: Ledger
    invitations: Invitations
    rollouts: RolloutBook

    def recheck(self) -> None:
        """Read again what was not confirmed.

        Raises:
            UnavailableError: the database is away.
        """
        self.accounts.recheck()
        self.ledger.recheck()
        self.rollouts.recheck()

    def close(self) -> None:
        """Let go of connections."""
        self.accounts.close()
        self.ledger.close()
        self.invitations.close()


def open_records(paths: GridPaths, url: str = "") -> Records:
    """Open them; a grid that comes to PostgreSQL brings along what it had in SQLite.

    Args:
        paths: the data directory.
        url: of PostgreSQL; empty for SQLite.

    Raises:
        ConfigurationError: another database than this grid's, or it does not let us in.
        UnavailableError: it is away.
        StorageError: it cannot be used, or is of another version.
    """
    files = (paths.accounts, paths.database, paths.data / "invitations.sqlite", paths.database)
    if url:
        database = Database(url)
        try:
            _claim(paths, database, files)
            return _records(database, database, database)
        except BaseException:
            database.close()
            raise
    if paths.database_json.exists():
        shown = json.loads(paths.database_json.read_text())["database"]
        raise ConfigurationError(
            f"the records of this grid are in {shown}",
            next_step="give --database (or AIGRID_DATABASE)",
        )
    return _records(*[Database(sqlite_url(file)) for file in files[:3]])


def _records(accounts: Database, control: Database, invitations: Database) -> Records:
    return Records(
        Accounts(accounts), Ledger(control), Invitations(invitations), RolloutBook(control)
    )


def wait_for_records(paths: GridPaths, url: str) -> Records:
    """`open_records`, however long the database is away."""
    away = Outage("database", logger)
    while True:
        try:
            opened = open_records(paths, url)
            away.over()
            return opened
        except UnavailableError as error:
            away.note(error)
            time.sleep(WAIT_S)


def _claim(paths: GridPaths, database: Database, files: tuple[Path, ...]) -> None:
    """See that the database is this grid's; an empty one becomes it."""
    grid = _grid_id(paths)
    for part in PARTS:
        prepare(database, part)
    with database.transaction() as connection:
        _, owner = read_mark(connection, OWNER)
        if owner not in ("", grid):
            raise ConflictError(
                f"database {database.shown} belongs to another grid",
                next_step="give each grid a database of its own, or restore its data directory",
            )
        if not owner:
            for part, file in zip(PARTS, files, strict=True):
                if file.exists():
                    _copy(file, part, connection)
            set_mark(connection, database, OWNER, 0, grid)
    write_json(paths.database_json, {"database": database.shown}, mode=0o600)


def _copy(file: Path, part: Part, into: Connection) -> None:
    """Bring the rows of a SQLite file along; it stays as it is."""
    old = Database(sqlite_url(file))
    prepare(old, part)
    copied = 0
    with old.transaction() as connection:
        for table in part.tables.sorted_tables:
            found = connection.execute(select(table)).mappings()
            while rows := found.fetchmany(COPY_ROWS):
                into.execute(table.insert(), [dict(row) for row in rows])
                copied += len(rows)
    old.close()
    logger.info("%d rows of %s were brought along", copied, file)


def _grid_id(paths: GridPaths) -> str:
    """The name by which a database knows its grid; kept before it is used."""
    path = paths.data / "grid_id"
    if not path.exists():
        write_aside(path, secrets.token_hex(16).encode() + b"\n")
    return path.read_text().strip()
