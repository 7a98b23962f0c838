"""Rows of a database that this process alone writes, known while the database is away."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from aigrid.core.errors import UnavailableError
from aigrid.store.database import Database
from aigrid.store.schema import Part, prepare


class KeptRows:
    """What was read last stands while the database is away; a change that was not confirmed may.

    A subclass makes its fields, then calls this class, which reads.

    Args:
        database: that holds them; this process alone writes them.
        part: of it.

    Raises:
        UnavailableError: the database is away.
    """

    def __init__(self, database: Database, part: Part) -> None:
        self._database = database
        prepare(database, part)
        self._lock = threading.Lock()
        self._sure = False
        self._read()

    def recheck(self) -> None:
        """Read again where a change was not confirmed: it may stand all the same.

        Raises:
            UnavailableError: the database is away; what was known stands.
        """
        if not self._sure:
            self._read()

    def _load(self, connection: Connection) -> None:
        """Read all of it."""
        raise NotImplementedError

    def _change(self, statement: Any) -> int:
        """Execute one statement; the number of rows that it met."""
        self._sure = False
        with self._database.transaction() as connection:
            met: int = connection.execute(statement).rowcount
        with suppress(UnavailableError):  # it is done; what follows from it is read later
            self._read()
        return met

    def _read(self) -> None:
        with self._lock, self._database.transaction() as connection:
            self._load(connection)
            self._sure = True
