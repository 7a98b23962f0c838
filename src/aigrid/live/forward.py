"""Sending one request to the first site that answers it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client import Counter, Gauge

from aigrid.control.asked import Asked
from aigrid.core.codec import to_plain
from aigrid.core.errors import OverloadedError, UnavailableError
from aigrid.engines.openai_answers import error_event
from aigrid.live.route_mirror import RouteMirror

CONNECT_TIMEOUT_S = 2.0
FIRST_BYTE_TIMEOUT_S = 120.0
TRY_FOR_S = 30.0
PAUSE_S = 0.1
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
# 404: the site no longer, or not yet, serves what the routing table says it does.
RETRYABLE = (404, 429, 500, 502, 503, 504)
logger = logging.getLogger(__name__)

REQUESTS = Counter("aigrid_gateway_requests_total", "Requests ended", ("service", "status"))
RETRIES = Counter("aigrid_gateway_retries_total", "Requests given to another site", ("site",))
IN_FLIGHT = Gauge("aigrid_gateway_in_flight", "Requests open at a site", ("site",))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request on its way, body untouched; `tried` names the sites that were tried in vain."""

    request_id: str
    path: str
    body: bytes
    service: str
    stream: bool
    origin: str
    tried: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    site: str
    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose first piece has arrived."""

    site: str
    chunks: AsyncIterator[bytes]


class TryNextError(Exception):
    """This site did not answer; nothing was sent to the client yet."""

    def __init__(self, reason: str, *, busy: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.busy = busy
        self.unreachable = unreachable


@dataclass(slots=True)
class Forwarder:
    """Tries candidates in order, again and again until `TRY_FOR_S` is over."""

    mirror: RouteMirror
    token: str
    requests: int = 0
    errors: int = 0
    retries: int = 0
    session: aiohttp.ClientSession | None = None
    reports: set[asyncio.Task[None]] = field(default_factory=set)
    asked: Asked = field(default_factory=Asked)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Hold the connection pool for as long as the gateway serves."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=FIRST_BYTE_TIMEOUT_S
        )
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self.session = session
            yield session

    async def send(self, attempt: Attempt) -> Answer | StreamedAnswer:
        """The answer of the first site that gives one.

        Raises:
            NotFoundError: the service is not deployed.
            OverloadedError: every candidate's line is full, for `TRY_FOR_S`.
            UnavailableError: nobody serves it, or nobody could be reached, likewise.
        """
        deadline = time.monotonic() + TRY_FOR_S
        self.requests += 1
        self._count(attempt)
        try:
            while True:
                reason = await self._round(attempt)
                if not isinstance(reason, TryNextError):
                    return reason
                if time.monotonic() > deadline:
                    raise _gave_up(attempt, reason)
                await asyncio.sleep(PAUSE_S)
        except BaseException:
            self.errors += 1
            raise

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
            await self.report("/grid/v1/demand", to_plain(seen))

    async def _round(self, attempt: Attempt) -> Answer | StreamedAnswer | TryNextError:
        """One pass over the candidates."""
        last = TryNextError("no site serves it now")
        for site in self.mirror.tries(attempt.origin, attempt.service):
            try:
                return await self._at(site, attempt)
            except TryNextError as reason:
                last = reason
                attempt.tried.append(site)
                self._note_retry(site, reason)
        return last

    def _note_retry(self, site: str, reason: TryNextError) -> None:
        self.retries += 1
        RETRIES.labels(site).inc()
        if reason.unreachable and self.mirror.suspect(site):
            logger.warning("site %s is unreachable: %s", site, reason)
            self._report_soon("/grid/v1/unreachable", {"site": site})

    async def _at(self, site: str, attempt: Attempt) -> Answer | StreamedAnswer:
        flight = self._flight(site)
        flight.__enter__()
        streaming = False
        try:
            response = await self._post(site, attempt)
            if response.status in RETRYABLE:
                response.release()
                raise TryNextError(f"status {response.status}", busy=response.status == 429)
            if attempt.stream and response.status == 200:
                answer = await self._streamed(site, attempt, response, flight)
                streaming = True
                return answer
            return await self._whole(site, attempt, response)
        finally:
            if not streaming:
                flight.__exit__(None, None, None)

    async def _post(self, site: str, attempt: Attempt) -> aiohttp.ClientResponse:
        assert self.session is not None
        try:
            return await self.session.post(
                self.mirror.urls[site] + attempt.path,
                data=attempt.body,
                headers={
                    "authorization": f"Bearer {self.token}",
                    "content-type": "application/json",
                    "x-request-id": attempt.request_id,
                },
            )
        except (KeyError, TimeoutError, aiohttp.ClientError) as error:
            raise TryNextError(f"{type(error).__name__}: {error}", unreachable=True) from error

    async def _whole(self, site: str, attempt: Attempt, response: aiohttp.ClientResponse) -> Answer:
        try:
            body = await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise TryNextError(f"answer broke off: {error}", unreachable=True) from error
        REQUESTS.labels(attempt.service, str(response.status)).inc()
        return Answer(site, response.status, body, {})

    async def _streamed(
        self, site: str, attempt: Attempt, response: aiohttp.ClientResponse, flight: _Flight
    ) -> StreamedAnswer:
        """Wait for the first piece, so that a site that dies before it costs the client nothing."""
        pieces = response.content.iter_any()
        try:
            first = await anext(pieces)
        except (StopAsyncIteration, TimeoutError, aiohttp.ClientError) as error:
            response.close()
            raise TryNextError(f"no first token: {error!r}", unreachable=True) from error
        return StreamedAnswer(site, self._rest(site, attempt, response, first, pieces, flight))

    async def _rest(
        self,
        site: str,
        attempt: Attempt,
        response: aiohttp.ClientResponse,
        first: bytes,
        pieces: AsyncIterator[bytes],
        flight: _Flight,
    ) -> AsyncIterator[bytes]:
        status = "broken"
        try:
            yield first
            async for piece in pieces:
                yield piece
            status = "200"
        except (TimeoutError, aiohttp.ClientError) as error:
            self.errors += 1
            self._report_soon("/grid/v1/unreachable", {"site": site})
            broken = UnavailableError(
                f"site {site} broke off in mid-answer: {type(error).__name__}",
                next_step="send the request again",
            )
            yield error_event(broken)
        finally:
            response.close()
            flight.__exit__(None, None, None)
            REQUESTS.labels(attempt.service, status).inc()

    def _flight(self, site: str) -> _Flight:
        return _Flight(self.mirror.in_flight, site)

    def stats(self) -> dict[str, Any]:
        """Counters since start, for `aigrid status`."""
        return {
            "requests_total": self.requests,
            "errors_total": self.errors,
            "retries_total": self.retries,
            "in_flight": sum(self.mirror.in_flight.values()),
        }

    async def report(self, path: str, body: dict[str, Any]) -> None:
        """Tell the control plane something; it may be away."""
        assert self.session is not None
        try:
            async with self.session.post(
                self.mirror.control_url + path,
                json=body,
                headers={"authorization": f"Bearer {self.token}"},
                timeout=aiohttp.ClientTimeout(total=5),
            ) as response:
                await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            logger.debug("control plane does not take %s: %s", path, error)

    def _report_soon(self, path: str, body: dict[str, Any]) -> None:
        if len(self.reports) < 64:
            task = asyncio.create_task(self.report(path, body))
            self.reports.add(task)
            task.add_done_callback(self.reports.discard)


class _Flight:
    """Counts one request at a site, in and out exactly once."""

    __slots__ = ("counts", "open", "site")

    def __init__(self, counts: dict[str, int], site: str) -> None:
        self.counts, self.site, self.open = counts, site, False

    def __enter__(self) -> _Flight:
        self.open = True
        self.counts[self.site] = self.counts.get(self.site, 0) + 1
        IN_FLIGHT.labels(self.site).set(self.counts[self.site])
        return self

    def __exit__(self, *_: object) -> None:
        if self.open:
            self.open = False
            self.counts[self.site] -= 1
            IN_FLIGHT.labels(self.site).set(self.counts[self.site])


def _gave_up(attempt: Attempt, reason: TryNextError) -> Exception:
    message = f"model {attempt.service!r}: {reason} (tried for {TRY_FOR_S:.0f} s)"
    kind = OverloadedError if reason.busy else UnavailableError
    return kind(message, next_step="try again in a moment; `aigrid status` shows the sites")
