"""Databases for tests: SQLite in a file, and a real PostgreSQL on loopback if it is installed."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pg8000.dbapi
import pytest

from aigrid.app.chaos import postgres
from aigrid.app.chaos.postgres import PostgresServer
from aigrid.store.database import sqlite_url
from aigrid.store.database_url import parse_url

EMPTY = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()",
    "drop schema public cascade",
    "create schema public",
)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One cluster for all tests."""
    if said := postgres.missing():
        pytest.skip(said)
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False)
    server.make()
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Makes an empty database; its URL."""
    numbers = count()
    return lambda: postgres_server.create(f"t{next(numbers)}")


@pytest.fixture(scope="session")
def shared_database(new_database: Callable[[], str]) -> str:
    """One for many tests: emptied, which is quicker than another."""
    return new_database()


@pytest.fixture
def postgres_url(shared_database: str) -> str:
    """An empty database."""
    connection = pg8000.dbapi.connect(**parse_url(shared_database).options)
    connection.autocommit = True
    for statement in EMPTY:
        connection.cursor().execute(statement)
    connection.close()
    return shared_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What is true of one database must be true of the other."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "accounts.sqlite")
    url: str = request.getfixturevalue("postgres_url")
    return url
