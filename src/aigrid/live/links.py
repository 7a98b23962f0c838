"""One request at one site: sent, and read as it comes, never for longer than the site lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from prometheus_client import Gauge

from aigrid.live.attempt import Answer, Attempt, TryNextError
from aigrid.live.frames import FRAMED_HEADER, PACKAGE_HEADER, USAGE_HEADER
from aigrid.live.generation import MOVABLE
from aigrid.live.limits import Limits
from aigrid.live.route_mirror import RouteMirror

FAULTY = (500, 502, 504)
IN_FLIGHT = Gauge("aigrid_gateway_in_flight", "Requests open at a site", ("site",))


@dataclass(slots=True)
class Flight:
    """Counts one request at a site, in and out exactly once."""

    counts: dict[str, int]
    site: str
    landed: bool = False

    def __post_init__(self) -> None:
        self._add(1)

    def land(self) -> None:
        """It is over."""
        if not self.landed:
            self.landed = True
            self._add(-1)

    def _add(self, number: int) -> None:
        self.counts[self.site] = self.counts.get(self.site, 0) + number
        IN_FLIGHT.labels(self.site).set(self.counts[self.site])


@dataclass(slots=True)
class Link:
    """An answer that comes in pieces.

    Attributes:
        site: that sends it.
        response: of HTTP.
        flight: ends with it.
    """

    site: str
    response: aiohttp.ClientResponse
    flight: Flight

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the site sends.

        Raises:
            TryNextError: it broke off, or is silent, or ended; a whole answer is read no further.
        """
        content = self.response.content
        try:
            while piece := await content.readany():
                yield piece
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _gone("broke off", error) from error
        raise TryNextError("ended in mid-answer", unreachable=True)

    def close(self) -> None:
        """Leave the site; its place there is freed."""
        self.response.close()
        self.flight.land()


@dataclass(slots=True)
class Links:
    """Opens links.

    Attributes:
        mirror: knows where sites answer, and counts what is open there.
        token: the grid's token.
        limits: how long a site may be silent.
        session: connections to sites.
    """

    mirror: RouteMirror
    token: str
    limits: Limits
    session: aiohttp.ClientSession | None = field(default=None)

    async def open(self, site: str, attempt: Attempt, path: str, body: bytes) -> Link | Answer:
        """Send a request; what comes back: a whole answer, or one in pieces.

        Raises:
            TryNextError: the site cannot answer, others may.
        """
        health, service = self.mirror.health, attempt.service
        flight = Flight(self.mirror.in_flight, site)
        health.begin(site, service)
        link: Link | None = None
        try:
            response = await self._post(site, attempt, path, body)
            if response.status in MOVABLE:
                status = response.status
                response.release()
                raise TryNextError(f"status {status}", busy=status == 429, faulty=status in FAULTY)
            if response.content_type == "text/event-stream":
                link = Link(site, response, flight)
                found: Link | Answer = link
            else:
                found = await self._whole(site, response)
            health.succeed(site, service)
            return found
        except TryNextError as reason:
            health.note(site, service, reason)
            raise
        except BaseException:
            health.let_go(site, service)
            raise
        finally:
            if link is None:
                flight.land()

    async def _post(
        self, site: str, attempt: Attempt, path: str, body: bytes
    ) -> aiohttp.ClientResponse:
        assert self.session is not None
        limits = self.limits
        try:
            async with asyncio.timeout(limits.silent_s + len(body) / limits.upload_bytes_s):
                return await self.session.post(
                    self.mirror.urls[site] + path,
                    data=body,
                    headers={
                        "authorization": f"Bearer {self.token}",
                        "content-type": "application/json",
                        "x-request-id": attempt.request_id,
                        FRAMED_HEADER: "1",
                    },
                )
        except (KeyError, TimeoutError, aiohttp.ClientError) as error:
            raise _gone("is not to be had", error) from error

    async def _whole(self, site: str, response: aiohttp.ClientResponse) -> Answer:
        parts, size = [], 0
        try:
            while piece := await response.content.readany():
                parts.append(piece)
                size += len(piece)
                if size > self.limits.answer_bytes:
                    response.close()
                    raise TryNextError(f"answer of over {self.limits.answer_bytes} bytes")
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _gone("broke off", error) from error
        headers = response.headers
        prompt, _, made = headers.get(USAGE_HEADER, "").partition(" ")
        usage = (int(prompt), int(made)) if prompt.isdigit() and made.isdigit() else None
        package = headers.get(PACKAGE_HEADER, "")
        return Answer(site, response.status, b"".join(parts), {}, usage, package)


def _gone(what: str, error: Exception) -> TryNextError:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return TryNextError(f"{what} ({said})", unreachable=True)
