"""A database of accounts: SQLite in a file, or a server that SQLAlchemy knows, behind one engine.

What differs between the two stands here; the tables and the statements on them are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from aigrid.core.errors import ConfigurationError, StorageError

BUSY_S = 5.0
DIALECTS = ("sqlite", "postgresql")


class Database:
    """Transactions on one database.

    Args:
        url: `sqlite:////PATH`, or `postgresql+DRIVER://USER@HOST/NAME`.
        tables: made on first use.
        version: of these tables; another in the database is refused.

    Raises:
        ConfigurationError: a URL that names no database we know.
        StorageError: it cannot be opened, or another aigrid's tables are in it.
    """

    def __init__(self, url: str, tables: MetaData, version: int) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise _unknown(url) from error
        if parsed.get_backend_name() not in DIALECTS:
            raise _unknown(parsed.render_as_string(hide_password=True))
        self.shown = parsed.render_as_string(hide_password=True)
        self._engine = _engine(parsed)
        with self.transaction() as connection:
            tables.create_all(connection)
            _check_version(connection, version, self.shown)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error.

        Raises:
            StorageError: the database does not do it.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StorageError(
                f"database {self.shown}: {said}", next_step="check free space and permissions"
            ) from error

    def insert(self, table: Any) -> Any:
        """An insert that can say what happens to a row that is there (`on_conflict_...`)."""
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}"


def _engine(url: Any) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: see `begin`
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate")

    return engine


def _check_version(connection: Connection, version: int, shown: str) -> None:
    connection.execute(
        text("create table if not exists accounts_schema (version integer primary key)")
    )
    found = connection.execute(text("select max(version) from accounts_schema")).scalar()
    if found is None:
        connection.execute(text("insert into accounts_schema values (:v)"), {"v": version})
    elif found != version:
        raise StorageError(
            f"{shown} has schema {found}, this aigrid knows {version}",
            next_step="use the aigrid that wrote it, or another --data directory",
        )


def _unknown(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"database {url!r} is none of {', '.join(DIALECTS)}",
        next_step="give postgresql+DRIVER://USER@HOST/NAME",
    )
