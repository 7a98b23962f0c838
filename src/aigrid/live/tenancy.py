"""The control plane's accounts: who calls, who may, what is written down, what gateways hold."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from aigrid.core.codec import to_plain
from aigrid.core.errors import (
    AuthenticationError,
    ConflictError,
    PermissionDeniedError,
    UnavailableError,
)
from aigrid.core.tenancy import (
    DEFAULT_TENANT,
    ApiKey,
    Tenant,
    permits,
    permits_own,
)
from aigrid.live.audit import AuditLog, Head
from aigrid.live.paths import GridPaths, read_secret, write_aside
from aigrid.store.accounts import Accounts, ended

REPEAT_S = 60.0
REPEATS_LIMIT = 4096
CLOCK_OFF_S = 86400.0  # keys that end are told to gateways for so much longer: they look themselves
DEFAULT_KEY = "key-default"
SHOWN_LETTERS = 16
KEY_PREFIX = "sk-aigrid-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the control plane."""

    tenant: str
    role: str
    key: str


UNKNOWN = Caller("", "", "")
OPERATOR = Caller(DEFAULT_TENANT, "operator", "operator-token")


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of the accounts at a revision."""

    revision: int
    tenants: list[Tenant]
    keys: list[ApiKey]


@dataclass(slots=True)
class Tenancy:
    """Accounts and their audit log.

    Attributes:
        paths: the data directory.
        operator_token: its holder is the operator.
        accounts: in their database.
        changed: called when gateways shall hear of something new.
        clock_s: Unix time.
    """

    paths: GridPaths
    operator_token: str
    accounts: Accounts
    changed: Callable[[], None] = lambda: None
    clock_s: Callable[[], float] = time.time
    audit: AuditLog = field(init=False)
    _published: dict[str, Any] = field(default_factory=dict)
    _repeats: dict[tuple[str, ...], tuple[float, int]] = field(default_factory=dict)
    _known: Known = field(init=False)

    def __post_init__(self) -> None:
        self._known = Known(-1, [], [])
        self.audit = AuditLog(self.paths.audit)
        if self.audit.repaired:
            self.audit.append("repaired", [{"what": "a line that never ended"}], self.clock_s())
        self._ensure_default()

    def _ensure_default(self) -> None:
        """The tenant to whom the key that `aigrid env` prints belongs."""
        if DEFAULT_TENANT not in {tenant.name for tenant in self.tenants()}:
            self.accounts.add_tenant(Tenant(DEFAULT_TENANT, created_at_s=self.clock_s()))
        key = read_secret(self.paths.api_key)
        digest = digest_of(key)
        keys = {one.digest: one for one in self.api_keys()}
        if digest in keys:
            return
        taken = {one.id for one in keys.values()}
        key_id = DEFAULT_KEY if DEFAULT_KEY not in taken else new_id("key")
        self.accounts.add_key(
            ApiKey(
                key_id, DEFAULT_TENANT, "consumer", digest, key[:SHOWN_LETTERS],
                "printed by aigrid env", self.clock_s(),
            )
        )  # fmt: skip

    # -- calls ---------------------------------------------------------------------------------

    def caller(self, token: str) -> Caller:
        """Who holds a token or key.

        Raises:
            AuthenticationError: nobody.
            PermissionDeniedError: a tenant that is suspended.
        """
        if token and hmac.compare_digest(token.encode(), self.operator_token.encode()):
            return OPERATOR
        digest = digest_of(token)
        for key in self.api_keys():
            if hmac.compare_digest(key.digest, digest) and key.stands(self.clock_s()):
                if self.tenant(key.tenant).suspended:
                    raise PermissionDeniedError(
                        f"tenant {key.tenant!r} is suspended", next_step="ask the grid's operator"
                    )
                return Caller(key.tenant, key.role, key.id)
        raise AuthenticationError(
            "the token is missing or not this grid's",
            next_step="run the command with the --data directory of the grid",
        )

    def authorise(self, caller: Caller, action: str, tenant: str = "") -> None:
        """Let a caller do something, to a tenant where one is named.

        Raises:
            PermissionDeniedError: its role does not allow it.
        """
        own = tenant == caller.tenant and permits_own(caller.role, action)
        if not own and not permits(caller.role, action):
            raise PermissionDeniedError(
                f"role {caller.role!r} of tenant {caller.tenant!r} may not do {action!r}"
                + (f" to tenant {tenant!r}" if tenant else ""),
                next_step="use a key with another role",
            )

    def authorise_package(self, caller: Caller, reference: str) -> None:
        """Let a publisher deploy what is its own; the operator may deploy anything.

        Raises:
            PermissionDeniedError: it is somebody else's.
        """
        name = re.split("[:@]", reference, maxsplit=1)[0]
        if caller.role != "operator" and name not in self.tenant(caller.tenant).publishes:
            raise PermissionDeniedError(
                f"package {name!r} is not published by tenant {caller.tenant!r}",
                next_step="ask the operator: aigrid tenant set TENANT --publishes PACKAGE",
            )

    def worth_noting(self, caller: Caller, call: dict[str, Any]) -> int:
        """Whether a call gets a line of its own.

        Those that only read, or are nobody's, come by the thousand: what repeats within a minute
        is counted, and the count stands in the next line.

        Returns:
            -1 for no; else how often it was repeated since its last line.
        """
        key = (caller.key, str(call["method"]), str(call["path"]), str(call.get("query", "")))
        now_s = self.clock_s()
        until_s, count = self._repeats.get(key, (0.0, 0))
        if now_s < until_s:
            self._repeats[key] = (until_s, count + 1)
            return -1
        if len(self._repeats) >= REPEATS_LIMIT:
            self._repeats.clear()
        self._repeats[key] = (now_s + REPEAT_S, 0)
        return count

    def note(self, kind: str, entry: dict[str, Any]) -> Head:
        """Write a line of the audit log."""
        return self.audit.append(kind, [entry], self.clock_s())

    # -- tenants -------------------------------------------------------------------------------

    def create_tenant(self, tenant: Tenant) -> Tenant:
        """Make a tenant; see `store.accounts`."""
        self._check_packages(tenant)
        made = replace(tenant, created_at_s=self.clock_s())
        self.accounts.add_tenant(made)
        self.changed()
        return made

    def change_tenant(self, name: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """Change a tenant; see `store.accounts`."""
        changed = change(self.accounts.tenant(name))
        self._check_packages(changed)
        self.accounts.put_tenant(changed)
        self.changed()
        return changed

    def _check_packages(self, tenant: Tenant) -> None:
        for other in self.accounts.tenants():
            both = set(other.publishes) & set(tenant.publishes)
            if other.name != tenant.name and both:
                raise ConflictError(f"package {min(both)!r} is published by {other.name!r}")

    def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        return self._read().tenants

    def tenant(self, name: str) -> Tenant:
        """One tenant.

        Raises:
            NotFoundError: there is none of that name.
        """
        for tenant in self.tenants():
            if tenant.name == name:
                return tenant
        return self.accounts.tenant(name)

    # -- keys ----------------------------------------------------------------------------------

    def api_keys(self) -> list[ApiKey]:
        """All keys, oldest first."""
        return self._read().keys

    def _read(self) -> Known:
        """Tenants and keys as they were read last; while the database is away, those stand."""
        with suppress(UnavailableError):
            self.accounts.recheck()
            revision = self.accounts.revision()
            if self._known.revision != revision:
                self._known = Known(revision, self.accounts.tenants(), self.accounts.api_keys())
        return self._known

    def create_key(
        self, tenant: str, role: str, label: str = "", expires_at_s: float = 0.0
    ) -> tuple[ApiKey, str]:
        """A new key, and the only sight of it."""
        key, secret = self._new_key(tenant, role, label, expires_at_s)
        self.accounts.add_key(key)
        self.changed()
        return key, secret

    def _new_key(
        self, tenant: str, role: str, label: str, expires_at_s: float = 0.0
    ) -> tuple[ApiKey, str]:
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            id=new_id("key"),
            tenant=tenant,
            role=role,
            digest=digest_of(secret),
            shown=secret[:SHOWN_LETTERS],
            label=label,
            created_at_s=self.clock_s(),
            expires_at_s=expires_at_s,
        )
        return key, secret

    def revoke_key(self, key_id: str) -> ApiKey:
        """Let a key open nothing from now on."""
        key = replace(self.accounts.key(key_id), revoked_at_s=self.clock_s())
        self.accounts.put_key(key)
        self.changed()
        return key

    def rotate_key(self, key_id: str, overlap_s: float) -> tuple[ApiKey, str, ApiKey]:
        """A new key in the place of an old one, which stands for `overlap_s` yet.

        Returns:
            the new key, the only sight of it, and the old key.

        Raises:
            ConflictError: the old key stands no longer.
        """
        old, now_s = self.accounts.key(key_id), self.clock_s()
        if not old.stands(now_s):
            raise ConflictError(
                f"key {key_id!r} stands no longer", next_step="make a new one: aigrid key create"
            )
        key, secret = self._new_key(old.tenant, old.role, old.label)
        old = ended(old, now_s + overlap_s)
        self.accounts.replace_key(old, key)
        if old.digest == digest_of(read_secret(self.paths.api_key)):
            write_aside(self.paths.api_key, (secret + "\n").encode(), mode=0o600)
        self.changed()
        return key, secret, old

    # -- gateways ------------------------------------------------------------------------------

    def published(self) -> dict[str, Any]:
        """What gateways hold: keys by digest, tenants with their terms, and the revision."""
        known = self._read()
        if self._published.get("revision") != known.revision:
            self._published = {
                "revision": known.revision,
                "keys": [
                    {
                        "id": key.id,
                        "tenant": key.tenant,
                        "role": key.role,
                        "digest": key.digest,
                        "expires_at_s": key.expires_at_s,
                    }
                    for key in known.keys
                    if key.stands(self.clock_s() - CLOCK_OFF_S)
                ],
                "tenants": [to_plain(tenant) for tenant in known.tenants],
            }
        return self._published


def digest_of(key: str) -> str:
    """SHA-256 (hex) of a key; it has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_id(what: str) -> str:
    """A name for a new thing."""
    return f"{what}-{secrets.token_hex(6)}"
