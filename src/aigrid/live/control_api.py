"""The control plane's HTTP API (OpenAPI at /openapi.json)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from aigrid.core.errors import (
    AigridError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from aigrid.core.events import SiteLeft
from aigrid.live import billing_api, refusals, reports, server, status, tenancy_api
from aigrid.live.control_metrics import registry_of
from aigrid.live.control_plane import ControlPlane
from aigrid.live.fabric.link import Kind
from aigrid.live.guesses import Guesses
from aigrid.live.metrics import page
from aigrid.live.site_record import SiteDoor
from aigrid.live.tenancy import Caller
from aigrid.store.served import registry_app

BODY_LIMIT_BYTES = 1024 * 1024
CONSOLE_PAGE = Path(__file__).parent / "page" / "console.html"
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline';"
        " script-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InviteRequest(_Strict):
    """How long an invitation stands."""

    for_s: Annotated[float, Field(gt=0.0, le=30 * 86400.0)] = 3600.0


class HoldRequest(_Strict):
    """Whether a site is held back."""

    hold: Literal["free", "cordoned", "draining"]
    force: bool = False


class DeployRequest(_Strict):
    """A package of the store: `NAME`, `NAME:VERSION` or `NAME@sha256:...`."""

    reference: Annotated[str, Field(min_length=1, max_length=512)]


class LoadRequest(_Strict):
    """A radio load that replaces the profile's for a while."""

    load: Annotated[float, Field(ge=0.0, le=1.0)]
    for_s: Annotated[float, Field(gt=0.0, le=3600.0)] = 30.0


def control_app(plane: ControlPlane) -> FastAPI:
    """The ASGI application of the control plane."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with plane.running():
            yield

    app = FastAPI(
        title="aigrid control plane", version="1", lifespan=lifespan, responses=refusals.responses()
    )
    guesses = Guesses()

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, AigridError)
        return server.refuse(request, guesses.judge(request, error))

    app.add_exception_handler(AigridError, refuse)
    app.add_exception_handler(RequestValidationError, _refuse_validation)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_middleware(_BodyLimit)
    _health_routes(app, plane)
    _operator_routes(app, plane)
    tenancy_api.include(app, plane.billing)
    billing_api.include_grid(app, plane.billing, plane.tokens.grid)
    _grid_routes(app, plane)
    app.mount("/", registry_app(plane.store, plane.tokens.grid))
    return app


class _BodyLimit:
    """Refuses bodies over the limit, and those that do not state their length."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            declared = request.headers.get("content-length", "0")
            chunked = "transfer-encoding" in request.headers
            if chunked or not declared.isdigit() or int(declared) > BODY_LIMIT_BYTES:
                size = int(declared) if declared.isdigit() else 0
                error = server.body_too_large(size, BODY_LIMIT_BYTES)
                with suppress(AigridError):  # who is still sending would not see the answer
                    await server.read_body(request, 0)
                await server.refuse(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _refuse_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    shown = InvalidRequestError(f"{where}: {first['msg']}", next_step="see /openapi.json")
    return server.refuse(request, shown)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: a body that it cannot read, a method, a path."""
    assert isinstance(error, HTTPException)
    kind = NotFoundError if error.status_code in (404, 405) else InvalidRequestError
    shown = kind(
        f"{request.method} {request.url.path}: {error.detail}", next_step="see /openapi.json"
    )
    response = server.refuse(request, shown)
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response


def _health_routes(app: FastAPI, plane: ControlPlane) -> None:
    grid = registry_of(plane)

    @app.get("/v1/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @app.get("/v1/health/ready")
    async def ready() -> dict[str, str]:
        """The orchestrator decides."""
        if plane.failure is not None:
            raise UnavailableError(f"the orchestrator failed: {plane.failure!r}")
        return {"status": "ready"}

    @app.get("/v1/metadata")
    async def metadata() -> dict[str, Any]:
        """Who this is."""
        return {"role": "control-plane", "commit": plane.commit, "pid": os.getpid()}

    @app.get("/console", response_class=Response, include_in_schema=False)
    async def console() -> Response:
        """A page that shows the grid; it reads the status with the token in its fragment."""
        return FileResponse(CONSOLE_PAGE, headers=_PAGE_HEADERS)

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Prometheus text format."""
        return page(grid)


def _operator_routes(app: FastAPI, plane: ControlPlane) -> None:
    tenancy = plane.tenancy
    read = [Depends(tenancy_api.allowed(tenancy, "status"))]
    guard = [Depends(tenancy_api.allowed(tenancy, "sites"))]
    services = Depends(tenancy_api.allowed(tenancy, "services"))

    @app.get("/control/v1/status", dependencies=read)
    def grid_status() -> dict[str, Any]:
        """Sites, services, radio and rates."""
        return status.grid_status(plane)

    @app.get("/control/v1/sites", dependencies=read)
    def sites() -> list[dict[str, Any]]:
        """The sites alone."""
        return status.site_rows(plane)

    @app.get("/control/v1/routes", dependencies=read)
    def routes() -> dict[str, Any]:
        """The routing table in force."""
        return {"version": plane.board.routes_version, "routes": status.route_rows(plane)}

    @app.post("/control/v1/services")
    async def deploy(request: DeployRequest, caller: Caller = services) -> dict[str, Any]:
        """Deploy a package, or another version of it."""
        tenancy.authorise_package(caller, request.reference)
        return plane.describe_service(await plane.deploy(request.reference))

    @app.delete("/control/v1/services/{name}")
    async def undeploy(name: str, caller: Caller = services) -> dict[str, str]:
        """Stop serving it."""
        tenancy.authorise_package(caller, name)
        await plane.undeploy(name)
        return {"undeployed": name}

    @app.post("/control/v1/sites/{site}/hold", dependencies=guard)
    async def hold(site: str, request: HoldRequest) -> dict[str, str]:
        """Cordon or drain a site, or let it go."""
        await plane.hold(site, request.hold, force=request.force)
        return {"site": site, "hold": request.hold}

    @app.post("/control/v1/sites/{site}/invite", dependencies=guard)
    def invite(site: str, request: InviteRequest) -> dict[str, Any]:
        """A token by which a site of another machine joins once."""
        token = _door(plane).invite(site, request.for_s)
        return {"site": site, "token": token, "for_s": request.for_s}

    @app.delete("/control/v1/sites/{site}", dependencies=guard)
    async def dismiss(site: str) -> dict[str, str]:
        """Let a site of another machine count no longer."""
        _door(plane).dismiss(site)
        await plane.handle(SiteLeft(site))
        return {"dismissed": site}

    @app.post("/control/v1/sites/{site}/radio-load", dependencies=guard)
    async def radio_load(site: str, request: LoadRequest) -> dict[str, Any]:
        """Make the radio of a tower busy, or idle, for a while."""
        return await _forward_load(plane, site, request)


def _door(plane: ControlPlane) -> SiteDoor:
    if plane.door is None:
        raise ConflictError(
            "this grid is for one machine",
            next_step="start it with `aigrid up --advertise ADDRESS`",
        )
    return plane.door


async def _forward_load(plane: ControlPlane, site: str, request: LoadRequest) -> dict[str, Any]:
    record = plane.records.get(site)
    if record is None:
        raise NotFoundError(
            f"site {site!r} is not in this grid",
            next_step=f"sites: {', '.join(sorted(plane.records))}",
        )
    headers = {"authorization": f"Bearer {plane.tokens.grid}"}
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=5),
                connector=aiohttp.TCPConnector(ssl=plane.tls or True),
            ) as session,
            session.post(
                f"{record.url}/site/v1/radio-load", json=request.model_dump(), headers=headers
            ) as response,
        ):
            answer: dict[str, Any] = await response.json()
    except (TimeoutError, aiohttp.ClientError) as error:
        raise UnavailableError(f"site {site!r} does not answer: {error}") from error
    if response.status != 200:
        raise InvalidRequestError(answer.get("error", {}).get("message", str(answer)))
    return answer


def _grid_routes(app: FastAPI, plane: ControlPlane) -> None:
    def member(request: Request) -> None:
        plane.tokens.check(server.bearer(request), operator=False)

    guard = [Depends(member)]

    @app.post("/grid/v1/{kind}", dependencies=guard, include_in_schema=False)
    async def report(kind: Kind, request: Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"report {kind}: {error}") from error
        return await reports.take(plane, kind, body)

    @app.get("/grid/v1/routes", dependencies=guard, include_in_schema=False)
    async def routes(after: int = -1, wait_s: float = 10.0) -> dict[str, Any]:
        return await plane.routes_after(after, min(max(wait_s, 0.0), 30.0))
