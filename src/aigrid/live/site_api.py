"""A site's HTTP API: OpenAI routes for the gateway; health, metadata and metrics for everyone."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from aigrid.control import admit
from aigrid.core.errors import (
    AigridError,
    AuthenticationError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from aigrid.engines import embeddings_api, openai_answers, openai_api
from aigrid.engines.engine import Chunk, Job
from aigrid.live import embeddings, kinds, server, tracing
from aigrid.live.frames import (
    FAILED_HEADER,
    FRAMED_HEADER,
    PACKAGE_HEADER,
    RESUME_PATH,
    USAGE_HEADER,
    VERSION_HEADER,
)
from aigrid.live.generation import Generation
from aigrid.live.limits import Limits
from aigrid.live.metrics import page
from aigrid.live.pump import Pump
from aigrid.live.replicas import Replica
from aigrid.live.resume import Resume, read_resume
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_metrics import registry_of
from aigrid.live.tracing import Span, describe
from aigrid.live.tracing.web import traced

if TYPE_CHECKING:
    from aigrid.live.tracing.tracer import ProcessTracer

RESUME_LIMIT_BYTES = 64 * 1024 * 1024  # the body once more as a JSON string, and what was made
EARLY_S = 0.4


def _shows_nothing(request: Request) -> bool:
    return False


@dataclass(slots=True)
class SiteApi:
    """Answers for one site.

    Attributes:
        agent: holds the replicas and the radio.
        grid_token: gateways carry it.
        tracer: makes spans, where there are any.
        trusted: whether a request shows a gateway's certificate; nobody does without TLS.
        limits: of the data path.
    """

    agent: SiteAgent
    grid_token: str
    limits: Limits = field(default_factory=Limits)
    trusted: Callable[[Request], bool] = _shows_nothing
    tracer: ProcessTracer | None = None

    def app(self) -> ASGIApp:
        """The ASGI application."""
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route(embeddings_api.PATH, self.embeddings, methods=["POST"]),
                Route(RESUME_PATH, self.resume, methods=["POST"]),
                Route("/v1/health/live", self.live),
                Route("/v1/health/ready", self.ready),
                Route("/v1/metadata", self.metadata),
                Route("/metrics", self.metrics),
                Route("/site/v1/radio-load", self.radio_load, methods=["POST"]),
            ],
            exception_handlers={AigridError: server.refuse},
            lifespan=self._lifespan,
        )
        return traced(app, self.tracer)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.agent.running():
            yield
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    # -- the OpenAI routes ---------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Chat completions."""
        return await self._answer(request, chat=True)

    async def completions(self, request: Request) -> Response:
        """Text completions."""
        return await self._answer(request, chat=False)

    async def embeddings(self, request: Request) -> Response:
        """Embeddings."""
        self._authenticate(request)
        body = await server.read_body(request, self.limits.body_bytes)
        span = tracing.of(request.scope)
        with span.begin("admit"):
            asked = embeddings_api.parse_embeddings(body)
            version = request.headers.get(VERSION_HEADER, "")
            replica = self.agent.replicas.get(asked.model, version)
            kinds.check(embeddings_api.PATH, asked.model, replica.spec.kind)
            self._admit(replica, self.limits.site_queue)
        job_id = request.headers.get("x-request-id") or uuid4().hex
        job = embeddings_api.to_embedding_job(asked, job_id)
        framed = FRAMED_HEADER in request.headers
        must_move = self.agent.must_move
        work = embeddings.Asked(asked, job, replica, framed, must_move, span)
        try:
            return await work.respond()
        except AigridError as error:
            if not work.failed:
                raise
            return _failed(request, error)

    async def resume(self, request: Request) -> Response:
        """Go on with an answer that another site could not end."""
        self._authenticate(request)
        resume = read_resume(await server.read_body(request, RESUME_LIMIT_BYTES))
        return await self._begin(request, resume.body, resume.chat, resume)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        self._authenticate(request)
        body = await server.read_body(request, self.limits.body_bytes)
        return await self._begin(request, body, chat, None)

    async def _begin(
        self, request: Request, body: bytes, chat: bool, resume: Resume | None
    ) -> Response:
        span = tracing.of(request.scope)
        with span.begin("admit"):
            asked = openai_api.parse_chat(body) if chat else openai_api.parse_completion(body)
            version = resume.package if resume else request.headers.get(VERSION_HEADER, "")
            replica = self.agent.replicas.get(asked.model, version)
            kinds.check("", asked.model, replica.spec.kind)
            self._admit(replica, self.limits.site_queue * (1 if resume is None else 2))
        request_id = request.headers.get("x-request-id") or uuid4().hex
        jobs = openai_api.to_jobs(asked, request_id)
        if resume is not None:
            jobs = resume.jobs(jobs)
        answer = openai_answers.Answer(
            ("chatcmpl-" if chat else "cmpl-") + request_id,
            asked.model,
            resume.created_s if resume is not None else int(time.time()),
            chat=chat,
            include_usage=asked.include_usage,
            logprobs=jobs[0].sampling.logprobs,
            choices=len(jobs),
            offsets=resume.offsets if resume is not None else (),
        )
        generation = Generation(
            answer,
            Pump([_chunks(span, replica, job, chat=chat) for job in jobs], request_id),
            package=replica.digest if FRAMED_HEADER in request.headers else "",
            must_move=self.agent.must_move,
            gone_on=resume is not None,
            chunks=resume.chunks() if resume is not None else [],
        )
        return await self._send(request, generation, stream=bool(asked.stream))

    async def _send(self, request: Request, generation: Generation, *, stream: bool) -> Response:
        """A status at once where the engine refuses at once; else, to a gateway, signs of life."""
        try:
            within_s = EARLY_S if generation.package else math.inf
            ready = await generation.read(within_s, whole=not stream)
        except AigridError as error:
            await generation.pump.close()
            if not generation.failed:
                raise
            return _failed(request, error)
        except BaseException:
            await generation.pump.close()
            raise
        if stream:
            return server.event_stream(generation.events(), {}, generation.pump.close)
        if not ready:
            return server.event_stream(generation.whole(), {}, generation.pump.close)
        await generation.pump.close()
        headers = {USAGE_HEADER: generation.usage(), PACKAGE_HEADER: generation.package}
        body = generation.answer.body(generation.chunks)
        return Response(body, media_type="application/json", headers=headers)

    def _admit(self, replica: Replica, queue_limit: int) -> None:
        load = replica.engine.load()
        share, next_share = self.agent.replicas.share, self.agent.handover.next_share
        reason = admit.admit(load.running, load.waiting, queue_limit, share, next_share)
        if reason == "paused" or self.agent.leaving:
            raise UnavailableError(self.agent.must_move() or "the radio needs this site's compute")
        if reason == "full":
            raise OverloadedError(f"{load.waiting} requests wait here", next_step="try again")

    # -- for everyone --------------------------------------------------------------------------

    async def live(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Something is served."""
        if not self.agent.replicas.serving:
            raise UnavailableError("no service is ready on this site", next_step="try again")
        return JSONResponse({"status": "ready", "services": sorted(self.agent.replicas.serving)})

    async def metadata(self, request: Request) -> Response:
        """What this site is and what it serves."""
        served = [
            {
                "name": name,
                "version": replica.spec.version,
                "digest": replica.digest,
                "kind": replica.spec.kind,
                "engine": replica.spec.engine,
                "licence": replica.spec.licence,
                "context_tokens": replica.spec.context_tokens,
            }
            for name, replica in sorted(self.agent.replicas.serving.items())
        ]
        site = self.agent.site
        return JSONResponse(
            {"site": site.name, "kind": site.kind, "region": site.region, "services": served}
        )

    async def metrics(self, request: Request) -> Response:
        """Prometheus text format."""
        return page(registry_of(self.agent))

    async def radio_load(self, request: Request) -> Response:
        """Override the load of this site's cells for a while."""
        self._authenticate(request)
        body = await server.read_body(request, 4096)
        try:
            raw = json.loads(body)
            load, for_s = float(raw["load"]), float(raw["for_s"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequestError(f"radio load: {error!r}") from error
        if not self.agent.site.cells or not (0.0 <= load <= 1.0 and math.isfinite(for_s)):
            raise InvalidRequestError(
                f"site {self.agent.site.name!r} cannot take a radio load of {load}",
                next_step="name a tower, and a load from 0 to 1",
            )
        self.agent.override_load(load, for_s)
        return JSONResponse({"site": self.agent.site.name, "load": load, "for_s": for_s})

    def _authenticate(self, request: Request) -> None:
        if self.trusted(request):
            return
        if not hmac.compare_digest(server.bearer(request), self.grid_token):
            raise AuthenticationError(
                "sites answer to their grid's gateways only", next_step="call the gateway"
            )


def _failed(request: Request, error: AigridError) -> Response:
    """Say that it was the engine, which counts against its version."""
    refusal = server.refuse(request, error)
    refusal.headers[FAILED_HEADER] = "1"
    return refusal


def _chunks(span: Span, replica: Replica, job: Job, *, chat: bool) -> AsyncGenerator[Chunk, None]:
    """What the engine makes of a job, watched where it is traced."""
    if not span.recorded:
        return replica.engine.generate(job)
    job, generating = describe.watched(span, job, chat=chat, model=replica.spec.name)
    return describe.generation(generating, job, replica.engine.generate(job))
