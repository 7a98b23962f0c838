"""A grid that comes to PostgreSQL loses nothing, and never goes on in the wrong place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from aigrid.core.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from aigrid.core.rollout import RolloutPlan
from aigrid.core.tenancy import Grant, Tenant, Usage
from aigrid.live.ledger import Deployment, Ledger
from aigrid.live.paths import GridPaths
from aigrid.live.records import open_records
from aigrid.live.rollout_book import RolloutBook, RolloutRecord
from aigrid.live.wide.invited import KEPT_S, METADATA, Invitations
from aigrid.store.billing.book import Entry, Terms, UsageBook
from aigrid.store.database import Database, sqlite_url
from aigrid.store.schema import Part, prepare

CHAT = Deployment("chat", "1", "sha256:0", 5.0)
ROLLOUT = RolloutRecord(
    "chat",
    "r1",
    "2",
    "sha256:2",
    "1",
    "sha256:0",
    RolloutPlan(share=0.3),
    "watching",
    "3 of 100 requests",
    began_at_s=6.5,
    seen={"new": {"requests": 3}},
)


def paths_in(folder: Path) -> GridPaths:
    made = GridPaths(folder)
    made.make()
    return made


def test_a_ledger_knows_after_a_restart_what_it_was_told(database_url: str) -> None:
    ledger = Ledger(Database(database_url))
    ledger.put(Deployment("chat", "0", "sha256:old", 1.0))
    ledger.put(CHAT)
    ledger.put(Deployment("other", "1", "sha256:1", 2.0))
    ledger.hold("a", "draining")
    ledger.hold("b", "cordoned")
    ledger.hold("a", "cordoned")
    ledger.hold("b", "free")
    ledger.remove("other")
    with pytest.raises(NotFoundError):
        ledger.remove("other")
    again = Ledger(Database(database_url))
    assert ledger.all() == again.all() == [CHAT]
    assert ledger.holds() == again.holds() == {"a": "cordoned"}
    ledger.close()
    again.close()


def test_the_last_rollout_of_a_service_is_known_after_a_restart(database_url: str) -> None:
    database = Database(database_url)
    book = RolloutBook(database)
    book.put(replace(ROLLOUT, rollout="r0", phase="rolled_back", retired=True))
    book.put(ROLLOUT)
    again = RolloutBook(database)
    assert book.all() == again.all() == [ROLLOUT]
    assert again.get("other") is None
    database.close()


def test_invitations_are_used_once_and_dismissals_outlive_a_restart(database_url: str) -> None:
    kept = Invitations(Database(database_url))
    first = kept.invite("https://h", b"ca", "s", 0.0, 10.0)
    second = kept.invite("https://h", b"ca", "s", 0.0, 10.0)
    for secret, now_s in ((first.secret, 1.0), (second.secret, 11.0)):
        with pytest.raises(AuthenticationError):
            kept.use(secret, "s", now_s)
    kept.use(second.secret, "s", 1.0)
    with pytest.raises(AuthenticationError):
        kept.use(second.secret, "s", 1.0)
    kept.dismiss("s", 2.0)
    again = Invitations(Database(database_url))
    assert again.is_dismissed("s")
    again.invite("https://h", b"ca", "s", 3.0, 10.0)
    assert not again.is_dismissed("s")
    kept.close()
    again.close()


def test_a_sites_keys_end_with_it_and_with_the_next_one(database_url: str) -> None:
    kept = Invitations(Database(database_url))
    kept.note_key("U1", "s", 0.0)
    kept.note_key("U1", "s", 1.0)  # renewed
    kept.note_key("OTHER", "t", 1.0)
    assert kept.revoked() == frozenset()
    kept.note_key("U2", "s", 2.0)
    assert kept.revoked() == {"U1"}
    kept.dismiss("s", 3.0)
    kept.invite("https://h", b"ca", "s", 4.0, 10.0)
    kept.close()
    again = Invitations(Database(database_url))
    assert again.revoked() == {"U1", "U2"}
    again.note_key("U3", "s", 3.0 + 2 * KEPT_S)
    assert again.revoked() == frozenset()  # their tokens ended long ago
    again.close()


def test_invitations_of_an_older_aigrid_are_brought_along(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "i.sqlite"))
    prepare(database, Part("invitations", METADATA, version=1))
    with database.transaction() as connection:
        connection.execute(text("drop table fabric_key"))
    kept = Invitations(database)
    kept.note_key("U1", "s", 0.0)
    kept.dismiss("s", 1.0)
    assert kept.revoked() == {"U1"}
    kept.close()


def test_a_grid_brings_its_records_along_once(tmp_path: Path, postgres_url: str) -> None:
    paths = paths_in(tmp_path)
    old = open_records(paths)
    old.accounts.add_tenant(Tenant("acme", weight=3))
    old.accounts.add_grant(Grant("g", "acme", "student", 5, "USD", 1.0, 2.0))
    usage = Usage("r", "acme", "k", "m", prompt_tokens=1, completion_tokens=2)
    UsageBook(old.accounts.database).put([Entry(usage, Terms(), 7)], 7, "hash")
    old.ledger.put(CHAT)
    old.invitations.dismiss("gone", 1.0)
    old.rollouts.put(ROLLOUT)
    revision = old.accounts.revision()
    old.close()
    for _ in range(2):
        new = open_records(paths, postgres_url)
        assert new.accounts.tenants() == [Tenant("acme", weight=3)]
        assert new.accounts.revision() == revision
        assert UsageBook(new.accounts.database).audited() == (7, "hash")
        assert UsageBook(new.accounts.database).row("r")["completion_tokens"] == 2
        assert new.ledger.all() == [CHAT] and new.invitations.is_dismissed("gone")
        assert new.rollouts.get("chat") == ROLLOUT
        new.close()


def test_a_grid_does_not_go_on_beside_its_database(tmp_path: Path, postgres_url: str) -> None:
    open_records(paths_in(tmp_path / "one"), postgres_url).close()
    with pytest.raises(ConfigurationError, match="the records of this grid are in postgresql://"):
        open_records(GridPaths(tmp_path / "one"))
    with pytest.raises(ConflictError, match="belongs to another grid"):
        open_records(paths_in(tmp_path / "two"), postgres_url)


def test_what_is_known_stands_while_the_database_is_away(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_records(paths_in(tmp_path), new_database())
    kept.ledger.put(CHAT)
    kept.accounts.add_tenant(Tenant("acme"))
    revision = kept.accounts.revision()
    databases = (kept.accounts.database,)
    for database in databases:
        monkeypatch.setattr(database, "_engine", Database("postgresql://u@127.0.0.1:9/d")._engine)
    for change in (
        lambda: kept.ledger.remove("chat"),
        lambda: kept.ledger.hold("s", "cordoned"),
        lambda: kept.accounts.add_tenant(Tenant("b")),
        lambda: kept.invitations.invite("u", b"", "s", 0.0, 1.0),
    ):
        with pytest.raises(UnavailableError):
            change()
    assert kept.ledger.all() == [CHAT] and kept.ledger.holds() == {}
    assert kept.accounts.revision() == revision
    monkeypatch.undo()
    kept.accounts.database._backoff.over()
    kept.recheck()
    assert kept.ledger.all() == [CHAT] and kept.accounts.revision() == revision
    kept.close()
