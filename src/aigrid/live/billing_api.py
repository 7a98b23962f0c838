"""Usage, invoices and grants over the control plane's HTTP; usage of gateways comes in here."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from aigrid.core.codec import to_plain
from aigrid.core.errors import AuthenticationError
from aigrid.live import server
from aigrid.live.billing_desk import EVENTS_LIMIT, BillingDesk, new_grant
from aigrid.live.tenancy import Caller
from aigrid.store.billing import money
from aigrid.store.billing.months import month_of

Name = Annotated[str, Field(min_length=1, max_length=63)]
Month = Annotated[str, Field(pattern=r"^(|\d{4}-\d{2})$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GrantRequest(_Strict):
    """Free credits."""

    tenant: Name
    purpose: Literal["research", "student", "startup"]
    amount_micro: Annotated[int, Field(gt=0, le=10**15)]
    ends_at_s: Annotated[float, Field(gt=0.0, lt=253_000_000_000.0)]
    starts_at_s: Annotated[float, Field(gt=0.0, lt=253_000_000_000.0)] | None = None


class UsageReport(_Strict):
    """Records of one gateway, as CloudEvents."""

    gateway: Annotated[str, Field(min_length=1, max_length=64)]
    events: Annotated[list[dict[str, Any]], Field(max_length=EVENTS_LIMIT)]


def include(app: FastAPI, desk: BillingDesk, allowed: Callable[..., Any]) -> None:
    """Add the routes; `allowed` makes the dependency that lets callers in."""
    tenancy = desk.tenancy
    operator = [Depends(allowed(tenancy, "grants"))]
    own = Depends(allowed(tenancy, "usage.own"))

    @app.get("/control/v1/usage")
    def usage(tenant: str = "", month: Month = "", caller: Caller = own) -> dict[str, Any]:
        """What was used in a month, by tenant, service and price."""
        tenancy.authorise(caller, "usage", tenant)
        month = month or month_of(tenancy.clock_s())
        rows = [
            {
                "tenant": one.tenant,
                "service": one.service,
                "version": one.terms.version,
                "requests": one.requests,
                "prompt_tokens": one.prompt_tokens,
                "completion_tokens": one.completion_tokens,
                "currency": one.terms.currency,
                "amount_micro": money.micro(
                    money.pico(
                        one.prompt_tokens,
                        one.completion_tokens,
                        one.terms.input_micro,
                        one.terms.output_micro,
                    )
                ),
            }
            for one in desk.sums(month, tenant)
        ]
        return {"month": month, "rows": rows}

    @app.get("/control/v1/invoices/{tenant}/{month}")
    def invoice(tenant: Name, month: str, caller: Caller = own) -> dict[str, Any]:
        """A tenant's invoice for a month."""
        tenancy.authorise(caller, "usage", tenant)
        return desk.invoice(tenant, month).to_dict()

    @app.get("/control/v1/grants")
    def grants(tenant: str = "", caller: Caller = own) -> list[dict[str, Any]]:
        """Free credits."""
        tenancy.authorise(caller, "usage", tenant)
        return [to_plain(grant) for grant in tenancy.accounts.grants(tenant)]

    @app.post("/control/v1/grants", dependencies=operator)
    def give(request: GrantRequest) -> dict[str, Any]:
        """Give free credits, in the tenant's currency."""
        starts_at_s = request.starts_at_s or tenancy.clock_s()
        grant = new_grant(
            request.tenant,
            request.purpose,
            request.amount_micro,
            tenancy.accounts.tenant(request.tenant).currency,
            starts_at_s,
            request.ends_at_s,
        )
        given: dict[str, Any] = to_plain(desk.give(grant))
        return given


def include_grid(app: FastAPI, desk: BillingDesk, grid_token: str) -> None:
    """Add the route by which gateways report usage."""

    def member(request: Request) -> None:
        if not hmac.compare_digest(server.bearer(request).encode(), grid_token.encode()):
            raise AuthenticationError("the token is missing or not this grid's")

    @app.post("/grid/v1/usage", dependencies=[Depends(member)], include_in_schema=False)
    def report(request: UsageReport) -> dict[str, Any]:
        return desk.take(request.gateway, request.events)
