"""Tenants, keys and grants: what the control plane knows of who uses the grid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, func, select, update

from aigrid.core.codec import from_plain, to_plain
from aigrid.core.errors import ConflictError, NotFoundError, UnavailableError
from aigrid.core.package import canonical_json
from aigrid.core.tenancy import ApiKey, Grant, Tenant
from aigrid.store.account_tables import ACCOUNTS, GRANT, KEY, MARK, TENANT
from aigrid.store.database import Database
from aigrid.store.schema import prepare

TENANTS_LIMIT = 10_000
KEYS_LIMIT = 50_000
GRANTS_LIMIT = 50_000
REVISION = "revision"


class Accounts:
    """The accounts of one grid; every call is one transaction.

    Its control plane alone writes them, so that what was read stands until it writes again.

    Args:
        database: that holds them.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        prepare(database, ACCOUNTS)
        self._revision, self._sure = 0, False
        self.recheck()

    # -- tenants -------------------------------------------------------------------------------

    def add_tenant(self, tenant: Tenant) -> None:
        """Make a tenant.

        Raises:
            ConflictError: one of that name is there, or there are too many.
        """
        with self._changing() as connection:
            if _count(connection, TENANT) >= TENANTS_LIMIT:
                raise ConflictError(f"{TENANTS_LIMIT} tenants are the limit")
            if _found(connection, TENANT, "name", tenant.name):
                raise ConflictError(
                    f"tenant {tenant.name!r} is there already", next_step="change it: tenant set"
                )
            connection.execute(TENANT.insert().values(**_tenant_row(tenant)))

    def put_tenant(self, tenant: Tenant) -> None:
        """Change a tenant.

        Raises:
            NotFoundError: there is none of that name.
        """
        row = _tenant_row(tenant)
        with self._changing() as connection:
            changed = connection.execute(
                update(TENANT).where(TENANT.c.name == tenant.name).values(**row)
            )
            if not changed.rowcount:
                raise _no_tenant(tenant.name)

    def tenant(self, name: str) -> Tenant:
        """One tenant.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self.database.transaction() as connection:
            found = _found(connection, TENANT, "name", name)
        if not found:
            raise _no_tenant(name)
        return _tenant(found)

    def tenants(self) -> list[Tenant]:
        """All, by name."""
        with self.database.transaction() as connection:
            rows = connection.execute(select(TENANT).order_by(TENANT.c.name)).mappings().all()
        return [_tenant(dict(row)) for row in rows]

    # -- keys ----------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> None:
        """Keep a key's digest.

        Raises:
            NotFoundError: there is no such tenant.
            ConflictError: the key, or its id, is there; or there are too many.
        """
        with self._changing() as connection:
            if _count(connection, KEY) >= KEYS_LIMIT:
                raise ConflictError(f"{KEYS_LIMIT} keys are the limit", next_step="revoke some")
            if not _found(connection, TENANT, "name", key.tenant):
                raise _no_tenant(key.tenant)
            if _found(connection, KEY, "id", key.id) or _found(
                connection, KEY, "digest", key.digest
            ):
                raise ConflictError(f"key {key.id!r} is there already")
            connection.execute(KEY.insert().values(**to_plain(key)))

    def put_key(self, key: ApiKey) -> None:
        """Change a key: its end, its revocation.

        Raises:
            NotFoundError: there is none of that id.
        """
        with self._changing() as connection:
            _put_key(connection, key)

    def replace_key(self, old: ApiKey, new: ApiKey) -> None:
        """Change a key and keep the one that follows it, both or neither.

        Raises:
            NotFoundError: there is none of the old one's id.
        """
        with self._changing() as connection:
            _put_key(connection, old)
            connection.execute(KEY.insert().values(**to_plain(new)))

    def key(self, key_id: str) -> ApiKey:
        """One key.

        Raises:
            NotFoundError: there is none of that id.
        """
        with self.database.transaction() as connection:
            found = _found(connection, KEY, "id", key_id)
        if not found:
            raise _no_key(key_id)
        return ApiKey(**found)

    def api_keys(self, tenant: str = "") -> list[ApiKey]:
        """All keys, or a tenant's, oldest first."""
        asked = select(KEY).order_by(KEY.c.created_at_s, KEY.c.id)
        asked = asked.where(KEY.c.tenant == tenant) if tenant else asked
        with self.database.transaction() as connection:
            return [ApiKey(**row) for row in connection.execute(asked).mappings()]

    # -- grants --------------------------------------------------------------------------------

    def add_grant(self, grant: Grant) -> None:
        """Give credits.

        Raises:
            NotFoundError: there is no such tenant.
            ConflictError: there are too many.
        """
        with self._changing() as connection:
            if _count(connection, GRANT) >= GRANTS_LIMIT:
                raise ConflictError(f"{GRANTS_LIMIT} grants are the limit")
            if not _found(connection, TENANT, "name", grant.tenant):
                raise _no_tenant(grant.tenant)
            connection.execute(GRANT.insert().values(**to_plain(grant)))

    def grants(self, tenant: str = "") -> list[Grant]:
        """All grants, or a tenant's, in the order in which they end."""
        asked = select(GRANT).order_by(GRANT.c.ends_at_s, GRANT.c.id)
        asked = asked.where(GRANT.c.tenant == tenant) if tenant else asked
        with self.database.transaction() as connection:
            return [Grant(**row) for row in connection.execute(asked).mappings()]

    # -- marks ---------------------------------------------------------------------------------

    def revision(self) -> int:
        """Grows with every change of tenants, keys and grants; asks nobody."""
        return self._revision

    def recheck(self) -> None:
        """Read again where a change was not confirmed: it may stand all the same.

        Raises:
            UnavailableError: the database is away; what was known stands.
        """
        if not self._sure:
            with self.database.transaction() as connection:
                self._know(read_mark(connection, REVISION)[0])

    def _know(self, revision: int) -> None:
        self._revision, self._sure = max(self._revision, revision), True

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        try:
            with self.database.transaction() as connection:
                set_mark(connection, self.database, REVISION, None)
                revision, _ = read_mark(connection, REVISION)
                yield connection
        except UnavailableError:
            self._sure = False
            raise
        self._know(revision)


def set_mark(
    connection: Connection, database: Database, name: str, number: int | None, said: str = ""
) -> None:
    """Set a number, or count it up where none is given."""
    first = 1 if number is None else number
    after = MARK.c.number + 1 if number is None else number
    made = database.insert(MARK).values(name=name, number=first, said=said)
    connection.execute(
        made.on_conflict_do_update(index_elements=["name"], set_={"number": after, "said": said})
    )


def read_mark(connection: Connection, name: str) -> tuple[int, str]:
    """A number and what stands beside it; 0 where it was never set."""
    found = _found(connection, MARK, "name", name)
    return (int(found["number"]), str(found["said"])) if found else (0, "")


def _put_key(connection: Connection, key: ApiKey) -> None:
    changed = connection.execute(update(KEY).where(KEY.c.id == key.id).values(**to_plain(key)))
    if not changed.rowcount:
        raise _no_key(key.id)


def ended(key: ApiKey, at_s: float) -> ApiKey:
    """The key, ending at `at_s` or before."""
    sooner = min(key.expires_at_s or at_s, at_s)
    return replace(key, expires_at_s=sooner)


def _tenant_row(tenant: Tenant) -> dict[str, Any]:
    terms = to_plain(tenant)
    return {
        "name": terms.pop("name"),
        "suspended": terms.pop("suspended"),
        "terms": canonical_json(terms).decode(),
    }


def _tenant(row: dict[str, Any]) -> Tenant:
    raw = {"name": row["name"], "suspended": bool(row["suspended"]), **json.loads(row["terms"])}
    tenant: Tenant = from_plain(Tenant, raw, f"tenant {row['name']}")
    return tenant


def _found(connection: Connection, table: Table, column: str, value: str) -> dict[str, Any]:
    row = connection.execute(select(table).where(table.c[column] == value)).mappings().first()
    return dict(row) if row is not None else {}


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _no_tenant(name: str) -> NotFoundError:
    return NotFoundError(f"there is no tenant {name!r}", next_step="see `aigrid tenant list`")


def _no_key(key_id: str) -> NotFoundError:
    return NotFoundError(f"there is no key {key_id!r}", next_step="see `aigrid key list`")
