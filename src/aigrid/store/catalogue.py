"""The catalogue: which packages were published, by whom and when, in one SQLite file.

A version never changes: the same name and version with another digest is refused. SQLite in WAL
mode lets readers go on while one publisher writes; each call opens its own connection, so that
threads and processes may share the file.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError, ConflictError, NotFoundError, StorageError
from aigrid.core.package import ServiceSpec, canonical_json
from aigrid.store.durable import locked, storing

SCHEMA_VERSION = 1
_BUSY_S = 10.0
_MAX_LISTED = 10_000
_SCHEMA = """
CREATE TABLE packages (
    name TEXT PRIMARY KEY,
    first_published_at_s REAL NOT NULL
) STRICT;
CREATE TABLE versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL REFERENCES packages (name),
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    spec TEXT NOT NULL,
    publisher TEXT NOT NULL,
    published_at_s REAL NOT NULL,
    evaluation TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT;
CREATE INDEX versions_by_digest ON versions (digest);
"""
# https://semver.org, item 11: numbers compare as numbers, a pre-release comes before its release.
_SEMVER = re.compile(
    r"v?(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-([0-9A-Za-z.-]+))?(?:[+_].*)?"
)
Order = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """One published version.

    Attributes:
        name: of the package.
        version: its tag.
        digest: of the manifest.
        kind: what the service does.
        size_bytes: manifest, configuration and files.
        spec: the service specification.
        publisher: who published it here.
        published_at_s: Unix time in seconds, as the publisher's side gave it.
        evaluation: the evaluation card; empty where there is none.
    """

    name: str
    version: str
    digest: str
    kind: str
    size_bytes: int
    spec: ServiceSpec
    publisher: str
    published_at_s: float
    evaluation: dict[str, Any]

    @property
    def ref(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


class Catalogue:
    """Published packages in a SQLite file, made when absent.

    Raises:
        ConfigurationError: the file was written by a newer aigrid, or is no database.
        StorageError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storing("a catalogue", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two first starts at once must not both make the tables or switch the journal.
            with locked(path.parent / f".{path.name}.lock"):
                self._migrate()

    def publish(self, record: PackageRecord) -> bool:
        """Add a version; False when this very digest was published before.

        Raises:
            ConflictError: the version exists with another digest.
            StorageError: the disk is full; nothing was added.
        """
        with self._connection("IMMEDIATE") as connection:
            known = _select(connection, "name = ? AND version = ?", record.name, record.version)
            if known:
                _check_same(known[0], record)
                return False
            connection.execute(
                "INSERT OR IGNORE INTO packages VALUES (?, ?)", (record.name, record.published_at_s)
            )
            connection.execute(_INSERT, _row(record))
            return True

    def check_free(self, ref: str, digest: str) -> None:
        """Refuse early a version that is taken by another digest.

        Raises:
            ConflictError: it is.
        """
        name, _, version = ref.partition(":")
        with self._connection() as connection:
            for known in _select(connection, "name = ? AND version = ?", name, version):
                if known.digest != digest:
                    raise _taken(known, digest)

    def get(self, name: str, version: str = "") -> PackageRecord:
        """One version, or the latest where none is named.

        Raises:
            NotFoundError: nothing of that name, or not that version.
        """
        found = self.versions(name)
        if not version and found:
            return found[-1]
        for record in found:
            if record.version == version:
                return record
        raise NotFoundError(
            f"package {name}{':' if version else ''}{version} is not in the store",
            next_step=f"versions here: {', '.join(r.version for r in found)}"
            if found
            else "see what is: aigrid store list",
        )

    def by_digest(self, digest: str) -> PackageRecord | None:
        """The version first published with this digest, where there is one."""
        with self._connection() as connection:
            found = _select(connection, "digest = ?", digest)
        return found[0] if found else None

    def versions(self, name: str) -> list[PackageRecord]:
        """All versions of a package; the latest is the last."""
        with self._connection() as connection:
            found = _select(connection, "name = ?", name)
        # The sort is stable: equal versions stay in the order they were published.
        return sorted(found, key=lambda r: version_order(r.version))

    def list(self) -> list[PackageRecord]:
        """Every version, by name, then from the oldest version to the latest."""
        with self._connection() as connection:
            found = _select(connection, "1")
        return sorted(found, key=lambda r: (r.name, version_order(r.version)))

    def _migrate(self) -> None:
        with self._opened() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found == SCHEMA_VERSION:
                return
            if found > SCHEMA_VERSION:
                raise ConfigurationError(
                    f"{self.path} has schema {found}, this aigrid knows {SCHEMA_VERSION}",
                    next_step="upgrade aigrid",
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN; {_SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )

    @contextmanager
    def _connection(self, mode: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back (by closing) on any error."""
        with self._opened() as connection:
            connection.execute(f"BEGIN {mode}")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            try:
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise _trouble(error, self.path) from error


def version_order(version: str) -> Order:
    """A sort key: other spellings first, then semantic versions as semver.org orders them."""
    match = _SEMVER.fullmatch(version)
    if not match:
        return (0,)
    numbers = tuple(int(match[n]) for n in (1, 2, 3))
    if match[4] is None:
        return (1, numbers, 1, ())
    parts = ((0, int(x), "") if x.isdigit() else (1, 0, x) for x in match[4].split("."))
    return (1, numbers, 0, tuple(parts))


_COLUMNS = "name, version, digest, kind, size_bytes, spec, publisher, published_at_s, evaluation"
_INSERT = f"INSERT INTO versions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _select(connection: sqlite3.Connection, where: str, *values: str) -> list[PackageRecord]:
    query = f"SELECT {_COLUMNS} FROM versions WHERE {where} ORDER BY id LIMIT {_MAX_LISTED}"
    return [_record(row) for row in connection.execute(query, values)]


def _row(record: PackageRecord) -> tuple[Any, ...]:
    return (
        record.name,
        record.version,
        record.digest,
        record.kind,
        record.size_bytes,
        record.spec.to_json().decode(),
        record.publisher,
        record.published_at_s,
        canonical_json(record.evaluation).decode(),
    )


def _record(row: tuple[Any, ...]) -> PackageRecord:
    name, version, digest, kind, size, spec, publisher, published_at_s, evaluation = row
    service = ServiceSpec.from_dict(json.loads(spec), f"catalogue entry {name}:{version}")
    return PackageRecord(
        name,
        version,
        digest,
        kind,
        size,
        service,
        publisher,
        published_at_s,
        json.loads(evaluation),
    )


def _check_same(known: PackageRecord, record: PackageRecord) -> None:
    if known.digest != record.digest:
        raise _taken(known, record.digest)


def _taken(known: PackageRecord, digest: str) -> ConflictError:
    return ConflictError(
        f"{known.ref} is published already as {known.digest}, this is {digest}",
        next_step="versions never change: give it a new version in service.json",
    )


def _trouble(error: sqlite3.DatabaseError, path: Path) -> ConfigurationError | StorageError:
    if "not a database" in str(error) or "malformed" in str(error):
        return ConfigurationError(
            f"{path} is not a catalogue: {error}", next_step="move it away and publish again"
        )
    return StorageError(
        f"cannot use {path}: {error}", next_step="free some space or check its rights"
    )
