"""Tenants, keys and the audit log over the control plane's HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from aigrid.core.codec import to_plain
from aigrid.core.errors import AigridError
from aigrid.core.tenancy import ApiKey, Quota, Sovereignty, Tenant
from aigrid.live import billing_api, server
from aigrid.live.audit import Head
from aigrid.live.billing_desk import BillingDesk
from aigrid.live.tenancy import UNKNOWN, Caller, Tenancy

NOTED_LIMIT = 2048
Name = Annotated[str, Field(min_length=1, max_length=63)]
RequestId = Annotated[str, Field(min_length=1, max_length=128)]
Limit = Annotated[int, Field(ge=-1, le=10**15)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Terms(_Strict):
    """Terms of a tenant; what is left out stays as it is."""

    priority: Literal["high", "standard", "batch"] | None = None
    weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    requests_per_min: Limit | None = None
    tokens_per_min: Limit | None = None
    streams: Limit | None = None
    budget_micro: Limit | None = None
    regions: Annotated[list[Name], Field(max_length=64)] | None = None
    operators: Annotated[list[Name], Field(max_length=64)] | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    share_bp: Annotated[int, Field(ge=0, le=10_000)] | None = None
    publishes: Annotated[list[Name], Field(max_length=64)] | None = None

    def change(self, tenant: Tenant) -> Tenant:
        """The tenant under these terms."""
        given = {k: v for k, v in self.model_dump().items() if v is not None}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        quota = {k: given.pop(k) for k in Quota.__dataclass_fields__ if k in given}
        rule = {k: given.pop(k) for k in Sovereignty.__dataclass_fields__ if k in given}
        return replace(
            tenant,
            quota=replace(tenant.quota, **quota),
            sovereignty=replace(tenant.sovereignty, **rule),
            **given,
        )


class TenantRequest(Terms):
    """A new tenant."""

    name: Name

    def tenant(self) -> Tenant:
        """It."""
        terms = Terms(**{k: v for k, v in self.model_dump().items() if k != "name"})
        return terms.change(Tenant(self.name))


class KeyRequest(_Strict):
    """A new key."""

    tenant: Name
    role: Literal["operator", "publisher", "consumer"] = "consumer"
    label: Annotated[str, Field(max_length=128)] = ""
    for_s: Annotated[float, Field(gt=0.0, le=10 * 366 * 86400.0)] | None = None


class RotateRequest(_Strict):
    """How long the old key stands beside the new."""

    overlap_s: Annotated[float, Field(ge=0.0, le=90 * 86400.0)] = 86400.0


Check = Callable[[Request], AsyncIterator[Caller]]


def allowed(tenancy: Tenancy, action: str) -> Check:
    """A dependency that lets a caller in whose role allows `action`, and writes that down.

    An action that ends in `.own` is allowed to everybody who may do it to their own tenant; the
    route itself then asks `Tenancy.authorise` with the tenant in question.
    """

    async def check(request: Request) -> AsyncIterator[Caller]:
        call = {"action": action, "method": request.method, "path": request.url.path}
        call |= await _asked(request)
        caller = UNKNOWN
        try:
            caller = await asyncio.to_thread(tenancy.caller, server.bearer(request))
            if not action.endswith(".own"):
                tenancy.authorise(caller, action)
        except AigridError as error:
            await _note_call(tenancy, caller, call, error.http_status)
            raise
        head = await _note_call(tenancy, caller, call, 0)
        try:
            yield caller
        except AigridError as error:
            if head is not None:
                await _note(tenancy, "result", {"of": head.seq, "status": error.http_status})
            raise

    return check


async def _asked(request: Request) -> dict[str, Any]:
    """What a call asks for; answers, which may hold secrets, are not written down."""
    if request.method in ("GET", "HEAD"):
        return {"query": request.url.query} if request.url.query else {}
    body = await request.body()
    if not body:
        return {}
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return {"body": "not JSON"}
    return {"body": asked if len(body) <= NOTED_LIMIT else f"{len(body)} bytes"}


async def _note_call(
    tenancy: Tenancy, caller: Caller, call: dict[str, Any], status: int
) -> Head | None:
    """Write a call down before it is executed; what only reads, once a minute."""
    entry = call | _who(caller) | {"status": status}
    if call["method"] in ("GET", "HEAD") or not caller.key:
        repeated = tenancy.worth_noting(caller, call)
        if repeated < 0:
            return None
        entry |= {"repeated": repeated} if repeated else {}
    return await _note(tenancy, "call", entry)


def _who(caller: Caller) -> dict[str, str]:
    return {"tenant": caller.tenant, "role": caller.role, "key": caller.key}


async def _note(tenancy: Tenancy, kind: str, entry: dict[str, Any]) -> Head:
    return await asyncio.to_thread(tenancy.note, kind, entry)


def include(app: FastAPI, desk: BillingDesk) -> None:
    """Add the routes."""
    _tenant_routes(app, desk.tenancy)
    _key_routes(app, desk.tenancy)
    _audit_routes(app, desk)
    billing_api.include(app, desk, allowed)


def _tenant_routes(app: FastAPI, tenancy: Tenancy) -> None:
    operator = [Depends(allowed(tenancy, "tenants"))]

    @app.get("/control/v1/tenants", dependencies=operator)
    def tenants() -> list[dict[str, Any]]:
        """All tenants."""
        return [to_plain(tenant) for tenant in tenancy.accounts.tenants()]

    @app.post("/control/v1/tenants", dependencies=operator)
    def create(request: TenantRequest) -> dict[str, Any]:
        """A new tenant."""
        return _plain(tenancy.create_tenant(request.tenant()))

    @app.patch("/control/v1/tenants/{name}", dependencies=operator)
    def change(name: Name, request: Terms) -> dict[str, Any]:
        """Other terms."""
        return _plain(tenancy.change_tenant(name, request.change))

    @app.post("/control/v1/tenants/{name}/suspend", dependencies=operator)
    def suspend(name: Name) -> dict[str, Any]:
        """Refuse its requests and calls."""
        return _plain(tenancy.change_tenant(name, lambda t: replace(t, suspended=True)))

    @app.post("/control/v1/tenants/{name}/resume", dependencies=operator)
    def resume(name: Name) -> dict[str, Any]:
        """Let them pass again."""
        return _plain(tenancy.change_tenant(name, lambda t: replace(t, suspended=False)))


def _key_routes(app: FastAPI, tenancy: Tenancy) -> None:
    own = Depends(allowed(tenancy, "keys.own"))
    operator = [Depends(allowed(tenancy, "keys"))]

    @app.get("/control/v1/keys")
    def keys(tenant: str = "", caller: Caller = own) -> list[dict[str, Any]]:
        """Keys, without the keys."""
        tenancy.authorise(caller, "keys", tenant)
        return [_key(key) for key in tenancy.accounts.api_keys(tenant)]

    @app.post("/control/v1/keys", dependencies=operator)
    def create(request: KeyRequest) -> dict[str, Any]:
        """A new key, shown this once."""
        expires_at_s = tenancy.clock_s() + request.for_s if request.for_s else 0.0
        key, secret = tenancy.create_key(request.tenant, request.role, request.label, expires_at_s)
        return _key(key) | {"key": secret}

    @app.delete("/control/v1/keys/{key_id}")
    def revoke(key_id: Name, caller: Caller = own) -> dict[str, Any]:
        """Let it open nothing from now on."""
        tenancy.authorise(caller, "keys", tenancy.accounts.key(key_id).tenant)
        return _key(tenancy.revoke_key(key_id))

    @app.post("/control/v1/keys/{key_id}/rotate")
    def rotate(key_id: Name, request: RotateRequest, caller: Caller = own) -> dict[str, Any]:
        """A new key in its place, shown this once."""
        tenancy.authorise(caller, "keys", tenancy.accounts.key(key_id).tenant)
        key, secret, old = tenancy.rotate_key(key_id, request.overlap_s)
        return _key(key) | {"key": secret, "replaces": _key(old)}


def _audit_routes(app: FastAPI, desk: BillingDesk) -> None:
    tenancy = desk.tenancy
    operator = [Depends(allowed(tenancy, "audit"))]
    own = Depends(allowed(tenancy, "proof.own"))

    @app.get("/control/v1/audit", dependencies=operator)
    def lines(last: Annotated[int, Field(ge=1, le=10_000)] = 50) -> list[dict[str, Any]]:
        """The last lines."""
        return tenancy.audit.last(last)

    @app.get("/control/v1/audit/verify", dependencies=operator)
    def verify() -> dict[str, Any]:
        """Check every line."""
        count, head = desk.verify()
        return {"lines": count, "head": {"seq": head.seq, "hash": head.hash}}

    @app.get("/control/v1/audit/requests/{request_id}")
    def prove(request_id: RequestId, caller: Caller = own) -> dict[str, Any]:
        """Where a request ran, under which rule, and that the log says so."""
        tenancy.authorise(caller, "proof", desk.owner(request_id))
        return desk.prove(request_id)


def _plain(tenant: Tenant) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(tenant)
    return plain


def _key(key: ApiKey) -> dict[str, Any]:
    """A key as people see it: not even its digest."""
    plain: dict[str, Any] = to_plain(key)
    del plain["digest"]
    return plain
