"""What the accounts keep, and what they refuse."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from aigrid.core.errors import ConfigurationError, ConflictError, NotFoundError, StorageError
from aigrid.core.tenancy import ApiKey, Grant, Quota, Sovereignty, Tenant
from aigrid.store.accounts import Accounts, ended
from aigrid.store.database import Database, sqlite_url

KEY = ApiKey("k", "acme", "consumer", "d" * 64, "sk-a", "app", 1.0)


@pytest.fixture
def accounts(database_url: str) -> Iterator[Accounts]:
    made = Accounts(Database(database_url))
    made.add_tenant(Tenant("acme"))
    yield made
    made.close()


def test_everything_is_read_as_it_was_written(accounts: Accounts) -> None:
    rich = Tenant(
        "rich", "high", 7, Quota(1, 2, 3, 4), Sovereignty(("jp-13",), ("own",)),
        "JPY", 5000, ("m",), True, 9.0,
    )  # fmt: skip
    grant = Grant("g", "acme", "student", 5, "USD", 1.0, 2.0)
    accounts.add_tenant(rich)
    accounts.add_key(KEY)
    accounts.add_grant(grant)
    assert accounts.tenant("rich") == rich
    assert accounts.tenants() == [Tenant("acme"), rich]
    assert accounts.key("k") == KEY and accounts.api_keys("acme") == [KEY]
    assert accounts.grants("acme") == [grant] and accounts.grants("rich") == []


def test_every_change_counts_the_revision_up(accounts: Accounts) -> None:
    before = accounts.revision()
    accounts.add_key(KEY)
    accounts.put_key(ended(KEY, 5.0))
    accounts.put_tenant(Tenant("acme", weight=2))
    assert accounts.revision() == before + 3


def test_names_are_there_once_and_what_is_not_there_is_said(accounts: Accounts) -> None:
    accounts.add_key(KEY)
    before = accounts.revision()
    with pytest.raises(ConflictError, match="'acme' is there already"):
        accounts.add_tenant(Tenant("acme"))
    with pytest.raises(ConflictError):
        accounts.add_key(KEY)
    for missing in (
        lambda: accounts.tenant("x"),
        lambda: accounts.put_tenant(Tenant("x")),
        lambda: accounts.key("x"),
        lambda: accounts.add_key(ApiKey("x", "x", "consumer", "e", "s")),
        lambda: accounts.add_grant(Grant("g", "x", "student", 1, "USD", 0.0, 1.0)),
    ):
        with pytest.raises(NotFoundError):
            missing()
    assert accounts.revision() == before


def test_key_ends_when_told_or_before(accounts: Accounts) -> None:
    assert ended(KEY, 5.0).expires_at_s == 5.0
    assert ended(ended(KEY, 5.0), 9.0).expires_at_s == 5.0


def test_another_schema_and_other_databases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts.sqlite"
    Accounts(Database(sqlite_url(path))).close()
    database = sqlite3.connect(path)
    database.execute("update accounts_schema set version = 99")
    database.commit()
    database.close()
    with pytest.raises(StorageError, match="schema 99"):
        Accounts(Database(sqlite_url(path)))
    for url in ("mysql://u:secret@h/d", "nonsense"):
        with pytest.raises(ConfigurationError) as told:
            Database(url)
        assert "secret" not in str(told.value)


def test_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Accounts(Database(sqlite_url(tmp_path / "a.sqlite")))
