"""One request at one site: sent, and read as it comes, never for longer than the site lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import Gauge

from aigrid.live.attempt import Answer, Attempt, TryNextError
from aigrid.live.frames import (
    FAILED_HEADER,
    FRAMED_HEADER,
    PACKAGE_HEADER,
    RESUME_PATH,
    USAGE_HEADER,
    VERSION_HEADER,
)
from aigrid.live.generation import MOVABLE
from aigrid.live.limits import Limits
from aigrid.live.route_mirror import RouteMirror
from aigrid.live.tracing import OFF, Span
from aigrid.live.wires import Wire, Wires

FAULTY = (500, 502, 504)
_USAGE, _PACKAGE = USAGE_HEADER.encode(), PACKAGE_HEADER.encode()
_FAILED = FAILED_HEADER.encode()
EVENT_STREAM = b"text/event-stream"
IN_FLIGHT = Gauge("aigrid_gateway_in_flight", "Requests open at a site", ("site",))


@dataclass(slots=True)
class Flight:
    """Counts one request at a site, in and out exactly once."""

    counts: dict[str, int]
    site: str
    span: Span = OFF
    landed: bool = False

    def __post_init__(self) -> None:
        self._add(1)

    def land(self) -> None:
        """It is over."""
        if not self.landed:
            self.landed = True
            self._add(-1)
            self.span.end()

    def _add(self, number: int) -> None:
        self.counts[self.site] = self.counts.get(self.site, 0) + number


@dataclass(slots=True)
class Link:
    """An answer that comes in pieces.

    Attributes:
        site: that sends it.
        wire: over which it comes.
        flight: ends with it.
    """

    site: str
    wire: Wire
    flight: Flight

    async def read(self) -> bytes:
        """The next piece that the site sends.

        Raises:
            TryNextError: it broke off, or is silent, or ended; a whole answer is read no further.
        """
        try:
            piece = await self.wire.read()
        except OSError as error:
            raise _gone("broke off", error) from error
        if not piece:
            raise TryNextError("ended in mid-answer", unreachable=True)
        return piece

    def close(self, *, ended: bool = False) -> None:
        """Leave the site; its place there is freed.

        Args:
            ended: it has said all that counts.
        """
        self.wire.leave(drain=ended)
        self.flight.land()


@dataclass(slots=True)
class Links:
    """Opens links.

    Attributes:
        mirror: knows where sites answer, and counts what is open there.
        token: the grid's token.
        limits: how long a site may be silent.
        wires: connections to sites.
    """

    mirror: RouteMirror
    token: str
    limits: Limits
    wires: Wires
    _head: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._head = (
            f"authorization: Bearer {self.token}\r\ncontent-type: application/json\r\n"
            f"{FRAMED_HEADER}: 1\r\nx-request-id: "
        ).encode()

    def tell_metrics(self) -> None:
        """What is open where, for Prometheus."""
        for site, number in self.mirror.in_flight.items():
            IN_FLIGHT.labels(site).set(number)

    async def open(self, site: str, attempt: Attempt, path: str, body: bytes) -> Link | Answer:
        """Send a request; what comes back: a whole answer, or one in pieces.

        Raises:
            TryNextError: the site cannot answer, others may.
        """
        health, service = self.mirror.health, attempt.replica
        leg = self._leg(site, attempt, path)
        flight = Flight(self.mirror.in_flight, site, leg)
        health.begin(site, service)
        link: Link | None = None
        try:
            wire = await self._post(site, attempt, path, body, leg)
            status = wire.status
            if leg.recorded:
                leg.set({"http.response.status_code": status})
            if status in MOVABLE:
                wire.leave(drain=True)
                raise TryNextError(
                    f"status {status}",
                    busy=status == 429,
                    faulty=status in FAULTY,
                    engine=_FAILED in wire.headers,
                    absent=status == 404,
                )
            if wire.headers.get(b"content-type", b"").startswith(EVENT_STREAM):
                link = Link(site, wire, flight)
                found: Link | Answer = link
            else:
                found = await self._whole(site, wire)
            health.succeed(site, service)
            return found
        except TryNextError as reason:
            health.note(site, service, reason)
            leg.fail(reason.kind, str(reason))
            raise
        except BaseException:
            health.let_go(site, service)
            leg.fail("client_left")
            raise
        finally:
            if link is None:
                flight.land()

    def _leg(self, site: str, attempt: Attempt, path: str) -> Span:
        """The span of one try; one that goes on with an answer is linked to the one before."""
        span = attempt.span
        if not span.recorded:
            return span
        legs = attempt.legs
        told: dict[str, str | int | float | bool | Sequence[str]] = {
            "http.request.method": "POST",
            "server.address": self.mirror.urls.get(site, ""),
            "http.request.resend_count": len(legs),
            "aigrid.site": site,
            "aigrid.continues": path == RESUME_PATH,
        }
        after = legs[-1] if legs else None
        legs.append(span.begin(f"POST {path}", told, kind="client", after=after))
        return legs[-1]

    async def _post(self, site: str, attempt: Attempt, path: str, body: bytes, leg: Span) -> Wire:
        limits = self.limits
        within_s = limits.silent_s + len(body) / limits.upload_bytes_s
        head = self._head + attempt.request_id.encode() + b"\r\n"
        if attempt.version:
            head += f"{VERSION_HEADER}: {attempt.version}\r\n".encode()
        if leg.traceparent:
            head += f"traceparent: {leg.traceparent}\r\n".encode()
        try:
            return await self.wires.post(self.mirror.urls[site], path, head, body, within_s)
        except (KeyError, OSError, ValueError) as error:
            raise _gone("is not to be had", error) from error

    async def _whole(self, site: str, wire: Wire) -> Answer:
        parts, size = [], 0
        try:
            while piece := await wire.read():
                parts.append(piece)
                size += len(piece)
                if size > self.limits.answer_bytes:
                    raise TryNextError(f"answer of over {self.limits.answer_bytes} bytes")
        except OSError as error:
            raise _gone("broke off", error) from error
        finally:
            wire.leave()
        headers = wire.headers
        prompt, _, made = headers.get(_USAGE, b"").partition(b" ")
        usage = (int(prompt), int(made)) if prompt.isdigit() and made.isdigit() else None
        package = headers.get(_PACKAGE, b"").decode("latin-1")
        return Answer(site, wire.status, b"".join(parts), {}, usage, package)


def _gone(what: str, error: Exception) -> TryNextError:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return TryNextError(f"{what} ({said})", unreachable=True)
