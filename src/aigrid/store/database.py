"""A database: SQLite in a file, or PostgreSQL, behind one engine.

What differs between the two stands here and beside it; tables and statements are the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pg8000
from sqlalchemy import Connection, Engine, Text, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from aigrid.core.errors import UnavailableError
from aigrid.store.backoff import Backoff
from aigrid.store.database_errors import away, explain
from aigrid.store.database_url import ANSWER_S, DatabaseUrl, parse_url

BUSY_S = 5.0
POOL_SIZE = 8
POOL_WAIT_S = 2.0
RECYCLE_S = 1800
# By bytes, as SQLite compares: both list and group in the same order, whatever the locale.
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


class Database:
    """Transactions on one database; nothing is opened before the first.

    Args:
        url: see `database_url.parse_url`.

    Attributes:
        shown: the URL without its password.
        server: whether it is PostgreSQL.

    Raises:
        ConfigurationError: a URL that names no database we know.
    """

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self.shown, self.server = parsed.shown, parsed.sqlite is None
        self._engine = _served(parsed) if self.server else _in_file(parsed)
        self._backoff = Backoff(ANSWER_S)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error.

        Raises:
            UnavailableError: the database is away; while it is, only now and then one call waits
                to find out.
            ConfigurationError: it does not let us in.
            InvalidRequestError: a value that it cannot keep.
            StorageError: it does not do it for another reason.
        """
        if not self._backoff.admits(time.monotonic()):
            raise away(self.shown, "it did not a moment ago")
        try:
            with self._engine.begin() as connection:
                self._backoff.over()
                yield connection
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, OSError):
                self._engine.dispose()  # the driver does not say which connection is broken
            told = explain(error, self.shown, server=self.server)
            if self.server and isinstance(told, UnavailableError):
                self._backoff.failed(time.monotonic())
            raise told from error

    def insert(self, table: Any) -> Any:
        """An insert that can say what happens to a row that is there (`on_conflict_...`)."""
        return (postgresql if self.server else sqlite).insert(table)

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}"


def _served(url: DatabaseUrl) -> Engine:
    """A pool with a limit; a connection that broke is found out before it is used."""
    engine = create_engine(
        url.driver_url,
        connect_args=url.options,
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_recycle=RECYCLE_S,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    engine.dialect.do_close = _close  # type: ignore[method-assign, assignment]

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        connection = pg8000.Connection.__new__(pg8000.Connection)
        try:
            connection.__init__(*arguments, **options)
        except BaseException:
            _let_go(getattr(connection, "_usock", None))
            raise
        return connection

    _end_with_their_pool(engine)
    return engine


def _end_with_their_pool(engine: Engine) -> None:
    """Close what was in use when connections were let go of, as soon as it is handed back.

    By itself, SQLAlchemy leaves those to whoever collects the garbage of their pool.
    """
    pools = count()
    now = [next(pools)]

    @event.listens_for(engine, "engine_disposed")
    def disposed(_: Engine) -> None:
        now[0] = next(pools)

    @event.listens_for(engine, "connect")
    def connected(_: Any, record: Any) -> None:
        record.info["pool"] = now[0]

    @event.listens_for(engine, "checkin")
    def handed_back(_: Any, record: Any) -> None:
        if record.info.get("pool") != now[0]:
            record.invalidate()


def _close(connection: Any) -> None:
    """Let a connection go; that it is broken is known by now."""
    wire = connection._usock
    with suppress(pg8000.Error, OSError):
        connection.close()
    _let_go(wire)


def _let_go(wire: Any) -> None:
    """Close a socket at once; the driver leaves it to whoever collects its garbage."""
    if wire is not None and (number := wire.detach()) >= 0:
        os.close(number)


def _in_file(url: DatabaseUrl) -> Engine:
    engine = create_engine(
        url.driver_url, poolclass=NullPool, connect_args={"timeout": BUSY_S}, hide_parameters=True
    )

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
