"""The gateway: one OpenAI-compatible endpoint in front of every site.

It reads the routing table and never writes it, holds no database, and gives a request to the next
candidate as long as nothing was sent to the client.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from aigrid.control.asked import DEMAND_PERIOD_S
from aigrid.core.codec import from_plain
from aigrid.core.errors import AigridError, AuthenticationError, NotFoundError, UnavailableError
from aigrid.engines import openai_api
from aigrid.live import gateway_openapi, idempotency, kinds, metrics, server, tracing
from aigrid.live.attempt import Answer, Attempt, StreamedAnswer
from aigrid.live.door import Door, Pass
from aigrid.live.fabric import Fabric, link_of
from aigrid.live.forward import Forwarder
from aigrid.live.guesses import Guesses
from aigrid.live.idempotency import Idempotency, Kept
from aigrid.live.limits import Limits
from aigrid.live.metering import Metering
from aigrid.live.paths import GridPaths
from aigrid.live.presence import while_here
from aigrid.live.quotas import Holder
from aigrid.live.request_log import RequestLog
from aigrid.live.route_mirror import RouteMirror
from aigrid.live.tracing import NOWHERE, Telemetry, describe, web
from aigrid.live.translation import Wish, read_wish
from aigrid.live.wide.certificates import Identity

if TYPE_CHECKING:
    from aigrid.live.tracing.tracer import ProcessTracer

REPORT_PERIOD_S = 1.0
FIRST_TABLE_S = 10.0  # a gateway that starts has its table within a second
GC_EVERY = 10_000  # objects; answers leave no cycles behind
T = TypeVar("T")
BUILD = metrics.registry("gateway")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What a gateway needs to know at start.

    Attributes:
        control_url: the control plane.
        grid_token: known to the grid's own processes.
        key_digests: SHA-256 (hex) of each key that clients may use.
        limits: of the data path.
        data: folder for what shall outlive the process; None keeps nothing.
        fabric: how it reaches NATS, if it does.
        identity: folder of this gateway's certificate, for sites of other machines.
        telemetry: where traces go.
    """

    control_url: str
    grid_token: str
    key_digests: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    data: Path | None = None
    fabric: Fabric = field(default_factory=Fabric)
    identity: Path | None = None
    telemetry: Telemetry = NOWHERE


@dataclass(slots=True)
class Gateway:
    """State of one gateway process."""

    settings: GatewaySettings
    log: RequestLog = field(default_factory=RequestLog)
    guesses: Guesses = field(default_factory=Guesses)
    mirror: RouteMirror = field(init=False)
    forwarder: Forwarder = field(init=False)
    idempotency: Idempotency = field(init=False)
    door: Door = field(init=False)
    metering: Metering = field(init=False)
    tracer: ProcessTracer | None = field(init=False)

    def __post_init__(self) -> None:
        self.tracer = web.tracer_of(
            self.settings.telemetry, "gateway", str(os.getpid()), at_the_door=True
        )
        control_url, token = self.settings.control_url, self.settings.grid_token
        link = link_of(self.settings.fabric, "gateway", control_url, token)
        self.mirror = RouteMirror(control_url, token, link)
        self.forwarder = Forwarder(self.mirror, token, self.settings.limits)
        if self.settings.identity is not None:
            self.forwarder.tls = Identity.within(self.settings.identity).client()
        data = self.settings.data
        path = data / "idempotency.sqlite" if data is not None else None
        self.idempotency = Idempotency(path, self.settings.limits)
        limits = self.settings.limits
        self.door = Door(self.settings.key_digests, limits)
        usage = data / "usage" if data is not None else None
        self.metering = Metering(
            self.door, self.mirror.place, self._digest, usage, limits.open_requests
        )
        self.mirror.on_install = self._install

    def _digest(self, service: str) -> str:
        return self._of(service, "digest")

    def _of(self, service: str, what: str) -> str:
        """What the control plane says of a service; empty where it says nothing."""
        return str(self.mirror.services.get(service, {}).get(what, ""))

    def _install(self, answer: dict[str, Any]) -> None:
        self.door.install(answer.get("tenancy"), answer["services"])

    def app(self) -> ASGIApp:
        """The ASGI application."""
        app = server.DirectApp(
            routes=[
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/v1/completions", self.complete, methods=["POST"]),
                Route("/v1/embeddings", self.embed, methods=["POST"]),
                Route("/v1/responses", self.complete, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/models/{name:path}", self.model),
                Route("/v1/health/live", self.live),
                Route("/v1/health/ready", self.ready),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={AigridError: server.refuse, 404: _no_such_path, 405: _bad_method},
            lifespan=self._lifespan,
        )
        app.routes.append(gateway_openapi.endpoint(app.routes))
        app.direct = dict.fromkeys(gateway_openapi.BODIES, self.complete)
        return web.traced(app, self.tracer)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.forwarder.open():
            tasks = [
                asyncio.create_task(self.mirror.follow()),
                asyncio.create_task(server.every(REPORT_PERIOD_S, self._report)),
                asyncio.create_task(server.every(DEMAND_PERIOD_S, self.forwarder.tell_demand)),
                asyncio.create_task(self.metering.sync()),
                asyncio.create_task(
                    self.metering.ship(self.settings.control_url, self.settings.grid_token)
                ),
            ]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.metering.close()
            await self.idempotency.close()
            if self.tracer is not None:
                await asyncio.to_thread(self.tracer.close)

    # -- handlers ------------------------------------------------------------------------------

    async def embed(self, request: Request) -> Response:
        """Embeddings of texts."""
        return await self.complete(request)

    async def complete(self, request: Request) -> Response:
        """Chat and text completions and responses, streamed or whole."""
        span = tracing.of(request.scope)
        with span.begin("door"):
            holder = await self._authenticate(request)
            body = await server.read_body(request, self.settings.limits.body_bytes)
            wish = read_wish(request.scope["path"], body)
            service, stream = openai_api.peek(wish.body)
            kinds.check(wish.path, service, self._of(service, "kind"))
            self.metering.log.check()
            passed = self.door.enter(holder, kinds.ask_of(wish.path, service, stream, wish.body))
        attempt = Attempt(
            request_id=f"req-{os.urandom(16).hex()}",
            path=wish.path,
            body=wish.body,
            service=service,
            stream=stream,
            origin=request.headers.get("x-aigrid-origin", "*"),
            rule=passed.tenant.sovereignty,
            again=passed.again,
            span=span,
        )
        if span.recorded:
            describe.request(span, attempt, passed.tenant.name)
        key = request.headers.get(idempotency.HEADER)
        try:
            if key is None:
                answer = wish.answer(await self._execute(request, attempt, passed))
                response = _respond(request, attempt, answer)
            else:
                response = await self._once(request, attempt, passed, wish, key)
        except BaseException:
            passed.refund()
            raise
        if left := self.door.quota_headers(passed.account):
            response.raw_headers += [(name.encode(), said.encode()) for name, said in left.items()]
        return response

    async def _execute(
        self, request: Request, attempt: Attempt, passed: Pass
    ) -> Answer | StreamedAnswer:
        work = while_here(request.scope, self._send(attempt, passed))
        noted = self.log.noted(attempt, attempt.origin in self.mirror.urls, work)
        return await self.metering.metered(passed, attempt, noted)

    async def _send(self, attempt: Attempt, passed: Pass) -> Answer | StreamedAnswer:
        if attempt.service in self.mirror.services:
            with attempt.span.begin("turn"):
                await passed.turn()
        return await self.forwarder.send(attempt)

    async def _once(
        self, request: Request, attempt: Attempt, passed: Pass, wish: Wish, key: str
    ) -> Response:
        """Execute a request, or say again what was said to it."""
        asked = request.scope["path"].encode() + b"\n" + attempt.body
        owner = passed.holder.digest
        claimed = self.idempotency.claim(owner, key, asked, attempt.request_id)
        claim = await while_here(request.scope, claimed)
        attempt = replace(attempt, request_id=claim.request_id)
        if claim.kept is not None:
            passed.refund()
            return _replay(request, attempt, claim.kept)
        try:
            answer = wish.answer(await self._execute(request, attempt, passed))
            if isinstance(answer, StreamedAnswer):
                watched = replace(answer, chunks=self.idempotency.watched(claim, answer))
                return _respond(request, attempt, watched)
            if answer.status == 200:
                await self.idempotency.keep(
                    claim, Kept("application/json", answer.site, answer.body)
                )
        except BaseException:
            self.idempotency.release(claim)
            raise
        self.idempotency.release(claim)
        return _respond(request, attempt, answer)

    async def models(self, request: Request) -> Response:
        """The services that are deployed."""
        await self._authenticate(request)
        listed = [_model_card(service) for service in self.mirror.services.values()]
        return JSONResponse({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        """One of them."""
        await self._authenticate(request)
        name = request.path_params["name"]
        if name not in self.mirror.services:
            raise NotFoundError(f"model {name!r} is not deployed here", next_step="GET /v1/models")
        return JSONResponse(_model_card(self.mirror.services[name]))

    async def live(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """The process has a routing table."""
        if self.mirror.version < 0:
            raise UnavailableError("gateway has no routing table yet", next_step="try again")
        return JSONResponse({"status": "ready", "routes_version": self.mirror.version})

    async def metrics(self, request: Request) -> Response:
        """Prometheus text format."""
        return metrics.page(BUILD)

    # -- parts ---------------------------------------------------------------------------------

    async def _authenticate(self, request: Request) -> Holder:
        """Who asks; a gateway that starts knows nobody before its first table."""
        if self.mirror.version < 0:
            await while_here(request.scope, self.mirror.first_table(FIRST_TABLE_S))
        try:
            return self.door.know(server.bearer(request))
        except AuthenticationError as error:
            raise self.guesses.judge(request, error) from None

    async def _report(self) -> None:
        self.door.tell_metrics()
        metrics.OPEN_REQUESTS.set(self.forwarder.open_requests)
        metrics.BACKLOG.set(self.metering.log.backlog_bytes)
        metrics.ROUTES.set(self.mirror.version)
        self.forwarder.links.tell_metrics()
        await self.forwarder.report("gateway", self.forwarder.stats())


def _respond(request: Request, attempt: Attempt, answer: Answer | StreamedAnswer) -> Response:
    headers = _headers(request, attempt, answer.site)
    if isinstance(answer, StreamedAnswer):
        return server.event_stream(answer.chunks, headers, answer.chunks.aclose)
    return Response(
        answer.body,
        status_code=answer.status,
        media_type="application/json",
        headers=headers | answer.headers,
    )


def _replay(request: Request, attempt: Attempt, kept: Kept) -> Response:
    headers = _headers(request, attempt, kept.site) | {idempotency.REPLAYED_HEADER: "true"}
    return Response(kept.content, media_type=kept.media_type, headers=headers)


def _headers(request: Request, attempt: Attempt, site: str) -> dict[str, str]:
    """The request's own id, by which it is billed, and beside it the one that its client gave."""
    headers = {"x-request-id": attempt.request_id, "x-aigrid-site": site}
    given = request.headers.get("x-client-request-id", "")
    if 0 < len(given) <= 128 and given.isascii() and given.isprintable():
        headers["x-client-request-id"] = given
    return headers


def _model_card(service: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": service["name"],
        "object": "model",
        "created": int(service["deployed_at_s"]),
        "owned_by": "aigrid",
        "kind": service.get("kind", "chat"),
        "version": service["version"],
        "digest": service["digest"],
    }


async def _no_such_path(request: Request, error: Exception) -> Response:
    missing = NotFoundError(f"no such path: {request.url.path}", next_step="see /v1/models")
    return server.refuse(request, missing)


async def _bad_method(request: Request, error: Exception) -> Response:
    response = server.refuse(
        request, NotFoundError(f"{request.method} is not allowed on {request.url.path}")
    )
    response.status_code = 405
    return response


def main(raw: dict[str, Any]) -> None:
    """Run a gateway process; `raw` comes from the supervisor."""
    settings = GatewaySettings(
        control_url=raw["control_url"],
        grid_token=raw["grid_token"],
        key_digests=tuple(raw["key_digests"]),
        limits=from_plain(Limits, raw.get("limits", {}), "limits"),
        data=Path(raw["data"]) / "gateway",
        fabric=Fabric.read(raw["fabric"]),
        identity=GridPaths(Path(raw["data"])).identity("gateway") if raw["wide"] else None,
        telemetry=from_plain(Telemetry, raw.get("telemetry", {}), "telemetry"),
    )
    log = RequestLog.to_folder(raw.get("record", ""))
    bound = server.listen(raw["host"], raw["port"])
    logger.info("gateway listens on port %d", raw["port"])
    app = Gateway(settings, log).app()
    gc.freeze()  # what stands for good is not looked at again and again
    gc.set_threshold(GC_EVERY, 20, 20)
    try:
        server.run(server.serve(app, bound, limits=settings.limits))
    finally:
        log.close()
