"""A site's HTTP API: OpenAI routes for the gateway; health, metadata and metrics for everyone."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigrid.control import admit
from aigrid.core.errors import (
    AigridError,
    AuthenticationError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from aigrid.engines import openai_answers, openai_api
from aigrid.engines.engine import Chunk, Job
from aigrid.live import server
from aigrid.live.replicas import Replica
from aigrid.live.site_agent import SiteAgent

BODY_LIMIT_BYTES = 4 * 1024 * 1024
QUEUE_LIMIT = 256
PAUSED_PATIENCE_S = 0.5


@dataclass(slots=True)
class SiteApi:
    """Answers for one site.

    Attributes:
        agent: holds the replicas and the radio.
        grid_token: gateways carry it.
    """

    agent: SiteAgent
    grid_token: str

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/health/live", self.live),
                Route("/v1/health/ready", self.ready),
                Route("/v1/metadata", self.metadata),
                Route("/metrics", self.metrics),
                Route("/site/v1/radio-load", self.radio_load, methods=["POST"]),
            ],
            exception_handlers={AigridError: server.refuse},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.agent.running():
            yield

    # -- the OpenAI routes ---------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Chat completions."""
        return await self._answer(request, chat=True)

    async def completions(self, request: Request) -> Response:
        """Text completions."""
        return await self._answer(request, chat=False)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        self._authenticate(request)
        body = await server.read_body(request, BODY_LIMIT_BYTES)
        asked = openai_api.parse_chat(body) if chat else openai_api.parse_completion(body)
        replica = self.agent.replicas.get(asked.model)
        self._admit(replica)
        job = openai_api.to_job(asked, request.headers.get("x-request-id") or uuid4().hex)
        answer = openai_answers.Answer(
            ("chatcmpl-" if chat else "cmpl-") + job.job_id,
            asked.model,
            int(time.time()),
            chat=chat,
            include_usage=asked.include_usage,
            logprobs=job.sampling.logprobs,
        )
        chunks = _generate(replica, job)
        first = await self._before_first(chunks)
        if asked.stream:
            return server.event_stream(_events(answer, first, chunks), {})
        return await self._whole(answer, first, chunks)

    def _admit(self, replica: Replica) -> None:
        load = replica.engine.load()
        share, next_share = self.agent.replicas.share, self.agent.next_share
        reason = admit.admit(load.running, load.waiting, QUEUE_LIMIT, share, next_share)
        if reason == "paused":
            raise UnavailableError("the radio needs this site's whole compute now")
        if reason == "full":
            raise OverloadedError(f"{load.waiting} requests wait here", next_step="try again")

    async def _before_first(self, chunks: AsyncGenerator[Chunk, None]) -> Chunk:
        """The first chunk; while nothing was sent, a paused site hands the request back."""
        first: Chunk = await self._unless_paused(anext(chunks), chunks)
        return first

    async def _whole(
        self, answer: openai_answers.Answer, first: Chunk, chunks: AsyncGenerator[Chunk, None]
    ) -> Response:
        async def gather() -> list[Chunk]:
            return [first] + [chunk async for chunk in chunks]

        all_chunks = await self._unless_paused(gather(), chunks)
        return Response(answer.body(all_chunks), media_type="application/json")

    async def _unless_paused(self, work: Any, chunks: AsyncGenerator[Chunk, None]) -> Any:
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=PAUSED_PATIENCE_S)
                if not task.done() and self.agent.paused_for_s() > PAUSED_PATIENCE_S:
                    raise UnavailableError("the radio took this site's compute back")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
                await chunks.aclose()

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
        registry = CollectorRegistry()
        registry.register(_SiteCollector(self.agent))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

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
        if not hmac.compare_digest(server.bearer(request), self.grid_token):
            raise AuthenticationError(
                "sites answer to their grid's gateways only", next_step="call the gateway"
            )


def _generate(replica: Replica, job: Job) -> AsyncGenerator[Chunk, None]:
    return replica.engine.generate(job)


async def _events(
    answer: openai_answers.Answer, first: Chunk, chunks: AsyncGenerator[Chunk, None]
) -> AsyncIterator[bytes]:
    try:
        yield answer.first_event() + answer.event(first)
        async for chunk in chunks:
            event = answer.event(chunk)
            if event:
                yield event
    except AigridError as error:
        yield openai_answers.error_event(error)
    finally:
        await chunks.aclose()


class _SiteCollector:
    """Reads gauges and counters when Prometheus asks."""

    def __init__(self, agent: SiteAgent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        """Replica load, radio slots, and the share."""
        replicas = self._agent.replicas
        running = GaugeMetricFamily("aigrid_running", "Jobs that take steps", labels=["service"])
        waiting = GaugeMetricFamily("aigrid_waiting", "Jobs in line", labels=["service"])
        tokens = CounterMetricFamily("aigrid_tokens", "Tokens made", labels=["service"])
        jobs = CounterMetricFamily("aigrid_jobs", "Jobs ended", labels=["service"])
        for name, replica in replicas.serving.items():
            load = replica.engine.load()
            running.add_metric([name], load.running)
            waiting.add_metric([name], load.waiting)
            tokens.add_metric([name], load.tokens_total)
            jobs.add_metric([name], load.jobs_total)
        yield from (running, waiting, tokens, jobs)
        yield GaugeMetricFamily("aigrid_ai_share", "Compute that AI may use", replicas.share)
        if self._agent.site.cells:
            beat = self._agent.radio_beat()
            yield GaugeMetricFamily("aigrid_radio_load", "PRB utilisation", beat.load)
            yield GaugeMetricFamily("aigrid_radio_need_cores", "Radio compute", beat.need_cores)
            slots = CounterMetricFamily("aigrid_radio_slots", "Slots", labels=["outcome"])
            slots.add_metric(["on_time"], beat.slots_on_time)
            slots.add_metric(["missed"], beat.slots_missed)
            yield slots
