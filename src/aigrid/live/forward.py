"""Requests of one gateway on their way to sites: the connections, the counts, the reports."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
from prometheus_client import Counter

from aigrid.control import retry
from aigrid.control.asked import Asked
from aigrid.control.retry import RetryBudget, RetryPolicy
from aigrid.control.trial import Trial
from aigrid.core.codec import to_plain
from aigrid.core.errors import OverloadedError, UnavailableError
from aigrid.live.attempt import Answer, Attempt, StreamedAnswer, TryNextError
from aigrid.live.fabric.link import Kind
from aigrid.live.limits import Limits
from aigrid.live.links import Links
from aigrid.live.relay import Journey
from aigrid.live.route_mirror import RouteMirror
from aigrid.live.trials import Trials
from aigrid.live.wires import Wires

REPORTS_LIMIT = 64
logger = logging.getLogger(__name__)

REQUESTS = Counter("aigrid_gateway_requests_total", "Requests ended", ("service", "status"))
RETRIES = Counter("aigrid_gateway_retries_total", "Requests given to another site", ("site",))
RESUMED = Counter("aigrid_gateway_resumed_total", "Answers continued elsewhere", ("service",))


_LEVELS = {"broken": logging.WARNING, "failed": logging.INFO}


def _about(attempt: Attempt, **more: str) -> dict[str, str]:
    """What a line of the log says of a request; its service may be a name that a client made up."""
    told = {"request_id": attempt.request_id, "service": attempt.service[:128]}
    return told | {"trace_id": attempt.span.trace_id} | more


@dataclass(slots=True)
class Forwarder:
    """Sends requests; each is open from `send` to the end of its answer.

    Attributes:
        mirror: the routing table.
        token: the grid's token.
        limits: of the data path.
        tls: this gateway's certificate, for sites of other machines.
        open_requests: that have not ended.
    """

    mirror: RouteMirror
    token: str
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None
    requests: int = 0
    errors: int = 0
    retries: int = 0
    resumed: int = 0
    open_requests: int = 0
    reports: set[asyncio.Task[None]] = field(default_factory=set)
    asked: Asked = field(default_factory=Asked)
    trials: Trials = field(default_factory=Trials)
    links: Links = field(init=False)
    _counters: dict[tuple[str, str], Counter] = field(default_factory=dict)
    budget: RetryBudget = field(init=False)
    policy: RetryPolicy = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        wires = Wires(limits.silent_s, limits.connect_s)
        self.links = Links(self.mirror, self.token, limits, wires)
        self.policy = RetryPolicy(limits.retry_share, limits.retry_burst, limits.retry_per_s)
        self.budget = RetryBudget(float(limits.retry_burst), time.monotonic())
        self.mirror.health.on_gone = self._tell_gone

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the connections for as long as the gateway serves."""
        wires = self.links.wires
        wires.tls = self.tls
        connector = aiohttp.TCPConnector(ssl=self.tls or True)
        async with aiohttp.ClientSession(connector=connector) as session:
            health = self.mirror.health
            tasks = [
                asyncio.create_task(wires.watch()),
                asyncio.create_task(health.probe(session, self._urls)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                wires.close()

    def _urls(self) -> dict[str, str]:
        return self.mirror.urls

    async def send(self, attempt: Attempt) -> Answer | StreamedAnswer:
        """The answer of the first site that gives one, continued by others where it breaks off.

        Raises:
            NotFoundError: the service is not deployed.
            OverloadedError: too much is open here, or every candidate's line is full.
            UnavailableError: nobody serves it, nobody could be reached, or it took too long.
        """
        self.requests += 1
        if self.open_requests >= self.limits.open_requests:
            self.errors += 1
            raise OverloadedError(
                f"{self.open_requests} requests are open at this gateway, the limit",
                next_step="try again in a moment",
            )
        self._count(attempt)
        retry.earn(self.policy, self.budget)
        self.open_requests += 1
        return await self._journey(attempt).begin()

    def _journey(self, attempt: Attempt) -> Journey:
        trial = self.trials.begin(self.mirror, attempt)
        on_end = partial(self._end, attempt, trial)
        on_retry = partial(self._note_retry, attempt)
        return Journey(attempt, self.links, self.limits, on_retry, self._may_retry, on_end, trial)

    def _end(self, attempt: Attempt, trial: Trial | None, status: str, resumes: int) -> None:
        """A request has ended."""
        self.open_requests -= 1
        if trial is not None:
            self.trials.end(trial, status)
        self.errors += status in ("failed", "broken")
        level = _LEVELS.get(status, logging.DEBUG)
        if logger.isEnabledFor(level):
            logger.log(level, "request ended: %s", status, extra=_about(attempt, status=status))
        service = attempt.service if attempt.service in self.mirror.services else ""
        counter = self._counters.get((service, status))
        if counter is None:
            counter = self._counters[service, status] = REQUESTS.labels(service, status)
        counter.inc()
        if resumes:
            self.resumed += 1
            RESUMED.labels(service).inc()

    def _count(self, attempt: Attempt) -> None:
        """Note who asks for what."""
        if attempt.service not in self.mirror.services:
            return
        origin = attempt.origin if attempt.origin in self.mirror.urls else "*"
        self.asked.count(origin, attempt.service)

    async def tell_demand(self) -> None:
        """Tell the control plane what was asked for since the last time, if anything was."""
        seen = self.asked.take()
        if seen is not None:
            await self.report("demand", to_plain(seen))

    def _note_retry(self, attempt: Attempt, site: str, reason: TryNextError) -> None:
        self.retries += 1
        level = logging.DEBUG if reason.busy else logging.INFO
        if logger.isEnabledFor(level):
            told = _about(attempt, site=site, reason=str(reason))
            logger.log(level, "request goes to another site", extra=told)
        RETRIES.labels(site).inc()

    def _may_retry(self) -> float:
        return retry.take(self.policy, self.budget, time.monotonic())

    def _tell_gone(self, site: str) -> None:
        self._report_soon("unreachable", {"site": site})

    def stats(self) -> dict[str, Any]:
        """Counters since start, for `aigrid status`."""
        return {
            "requests_total": self.requests,
            "errors_total": self.errors,
            "retries_total": self.retries,
            "resumed_total": self.resumed,
            "in_flight": self.open_requests,
            "trials": self.trials.reports(self.mirror),
        }

    async def report(self, kind: Kind, body: dict[str, Any]) -> None:
        """Tell the control plane something; it may be away."""
        try:
            await self.mirror.fabric.tell(kind, "gateway", body)
        except UnavailableError as error:
            logger.debug("control plane does not take %s: %s", kind, error)

    def _report_soon(self, kind: Kind, body: dict[str, Any]) -> None:
        if len(self.reports) < REPORTS_LIMIT:
            task = asyncio.create_task(self.report(kind, body))
            self.reports.add(task)
            task.add_done_callback(self.reports.discard)
