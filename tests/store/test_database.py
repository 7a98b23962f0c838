"""A database that is away, refuses or is another's is said plainly, and comes back by itself."""

import logging
import socket
import time
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text

from aigrid.app.chaos import postgres
from aigrid.app.chaos.postgres import PostgresServer
from aigrid.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    StorageError,
    UnavailableError,
)
from aigrid.store.backoff import FIRST_S, LAST_S, Backoff
from aigrid.store.database import TEXT, Database
from aigrid.store.database_url import parse_url, read_url
from aigrid.store.schema import Part, prepare

TABLES = MetaData()
THING = Table(
    "thing", TABLES, Column("name", TEXT, primary_key=True), Column("size", Integer, nullable=False)
)
FIRST = Part("things", TABLES, 1)


def names(database: Database) -> list[str]:
    with database.transaction() as connection:
        return list(connection.execute(select(THING.c.name).order_by(THING.c.name)).scalars())


def test_half_a_change_is_no_change(database_url: str) -> None:
    database = Database(database_url)
    prepare(database, FIRST)
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute(THING.insert().values(name="a", size=1))
        raise ZeroDivisionError
    assert names(database) == []
    database.close()


def test_both_sort_by_bytes(database_url: str) -> None:
    database = Database(database_url)
    prepare(database, FIRST)
    words = ["b", "a", "B", "_", "é", "a-b", "ab"]
    with database.transaction() as connection:
        connection.execute(THING.insert(), [{"name": word, "size": 1} for word in words])
    assert names(database) == sorted(words, key=str.encode)
    database.close()


def test_tables_are_brought_up_to_date_in_one_step_or_not_at_all(database_url: str) -> None:
    database = Database(database_url)
    assert prepare(database, FIRST)
    assert not prepare(database, FIRST)
    steps = {2: ("alter table thing add column colour text",)}
    broken = Part("things", TABLES, 3, {**steps, 3: ("update nothing set x = 1",)})
    with pytest.raises(StorageError):
        prepare(database, broken)
    prepare(database, FIRST)  # still what it was
    newer = Part("things", TABLES, 2, steps)
    prepare(database, newer)
    with database.transaction() as connection:
        connection.execute(text("insert into thing values ('a', 1, 'red')"))
    with pytest.raises(StorageError, match="has schema 2 of things, this aigrid knows 1"):
        prepare(database, FIRST)
    database.close()


def test_a_server_that_dies_is_left_alone_and_found_again(tmp_path: Path) -> None:
    if said := postgres.missing():
        pytest.skip(said)
    server = PostgresServer(tmp_path / "pg", durable=False)
    server.make()
    server.start()
    try:
        database = Database(server.url())
        prepare(database, FIRST)
        with pytest.raises(UnavailableError, match="does not answer"), database.transaction() as c:
            c.execute(THING.insert().values(name="half", size=1))
            server.kill()
            c.execute(THING.insert().values(name="other half", size=1))
        with pytest.raises(UnavailableError) as told:
            names(database)
        assert server.password not in str(told.value)
        refused = 0
        for _ in range(50):
            with pytest.raises(UnavailableError) as told:
                names(database)
            refused += "it did not a moment ago" in str(told.value)
        assert refused > 25  # without a try
        server.start()
        deadline_s = time.monotonic() + 20.0
        while True:
            try:
                assert names(database) == []
                break
            except UnavailableError:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
        database.close()
    finally:
        server.kill()


def test_what_is_in_use_when_a_database_is_closed_ends_with_its_transaction(
    postgres_url: str,
) -> None:
    database, watching = Database(postgres_url), Database(postgres_url)
    prepare(database, FIRST)
    with database.transaction() as connection:
        number = connection.scalar(text("select pg_backend_pid()"))
        database.close()
        connection.execute(THING.insert().values(name="a", size=1))
    assert names(watching) == ["a"]
    deadline_s = time.monotonic() + 10.0
    asked = text("select count(*) from pg_stat_activity where pid = :number")
    while True:
        with watching.transaction() as connection:
            if not connection.scalar(asked, {"number": number}):
                break
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    watching.close()


def test_a_server_that_takes_connections_and_says_nothing_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aigrid.store.database_url.ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://u:secret@127.0.0.1:{silent.getsockname()[1]}/d")
        with pytest.raises(UnavailableError):
            names(database)


def test_wrong_passwords_and_names_are_said_without_the_password(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user, _, place = postgres_url.partition("@")
    wrong = user.rpartition(":")[0] + ":wrong-secret@" + place
    with pytest.raises(ConfigurationError, match="password authentication failed") as told:
        names(Database(wrong))
    assert "wrong-secret" not in str(told.value) + caplog.text
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist'):
        names(Database(postgres_url.rpartition("/")[0] + "/nowhere"))


def test_a_value_that_cannot_be_kept_is_the_callers_error(postgres_url: str) -> None:
    database = Database(postgres_url)
    prepare(database, FIRST)
    with pytest.raises(InvalidRequestError), database.transaction() as connection:
        connection.execute(THING.insert().values(name="a\0b", size=1))
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", "another kind"),
        ("nonsense:secret", "no URL"),
        ("postgresql://u:secret@h:port/d", "no URL"),
        ("postgresql://u:secret@h", "names no database"),
        ("postgresql://u:secret@h/d?sslmode=maybe", "sslmode 'maybe'"),
        ("postgresql://u:secret@h/d?password2=x", "option 'password2'"),
        ("postgresql://u:secret@h/d?sslmode=require&sslrootcert=/nowhere", "sslrootcert"),
    ],
)
def test_urls_that_cannot_be_are_refused_without_their_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as told:
        parse_url(url)
    assert "secret" not in str(told.value)


def test_urls_are_read_as_libpq_does() -> None:
    near = parse_url("postgres://u:p%40ss@127.0.0.1:5433/d")
    assert (near.options["password"], near.options["port"]) == ("p@ss", 5433)
    assert near.options["ssl_context"] is False and "p@ss" not in repr(near)
    far = parse_url("postgresql://u@db.example/d").options["ssl_context"]
    assert far.check_hostname  # who is not on this machine shows who it is
    local = parse_url("postgresql:///d?host=/run/postgresql").options
    assert local["unix_sock"] == "/run/postgresql/.s.PGSQL.5432"


def test_a_url_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    assert read_url(f"@{tmp_path / 'url'}") == "postgresql://u:p@h/d"
    with pytest.raises(ConfigurationError, match="No such file"):
        read_url(f"@{tmp_path / 'none'}")


def test_back_off_grows_to_its_limit_and_lets_one_try_at_a_time() -> None:
    backoff = Backoff(trial_s=3.0)
    assert backoff.admits(0.0) and backoff.admits(0.0)
    backoff.failed(0.0)
    assert not backoff.admits(FIRST_S / 2)
    assert backoff.admits(FIRST_S) and not backoff.admits(FIRST_S + 1.0)
    for _ in range(10):
        backoff.failed(10.0)
    assert not backoff.admits(10.0 + LAST_S - 0.01) and backoff.admits(10.0 + LAST_S)
    backoff.over()
    assert backoff.admits(0.0) and backoff.admits(0.0)
