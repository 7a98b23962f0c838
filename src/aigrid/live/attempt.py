"""A request on its way through the gateway, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aigrid.core.tenancy import Sovereignty
from aigrid.live.frames import Relay
from aigrid.live.passing import Pieces
from aigrid.live.tracing import OFF, Span

ANYWHERE = Sovereignty()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request on its way, body untouched.

    Attributes:
        request_id: names it; by it usage is counted.
        path: of HTTP.
        body: of the client.
        service: that it asks for.
        stream: whether the answer is streamed.
        origin: site that it comes from, or `*`.
        rule: where it may run.
        again: called where every line was full, with a pause and the time that is left: waits for
            another turn.
        tried: sites that were tried in vain.
        ran: sites that answered, in order; the last may have ended it.
        span: of the request.
        legs: spans of its tries, one a site.
        version: digest of the package that shall answer; empty for what the site serves.
    """

    request_id: str
    path: str
    body: bytes
    service: str
    stream: bool
    origin: str
    rule: Sovereignty = ANYWHERE
    again: Callable[[float, float], Awaitable[None]] | None = None
    tried: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    span: Span = OFF
    legs: list[Span] = field(default_factory=list)
    version: str = ""

    @property
    def replica(self) -> str:
        """What a site is trusted with: a service, or one version of it."""
        return f"{self.service}@{self.version}" if self.version else self.service


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        site: that gave it.
        status: of HTTP.
        body: for the client.
        headers: for the client.
        usage: prompt and completion tokens; None where the site does not say.
        package: digest of the package that gave it; empty where the site does not say.
    """

    site: str
    status: int
    body: bytes
    headers: dict[str, str]
    usage: tuple[int, int] | None = None
    package: str = ""


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose first piece has arrived.

    Attributes:
        site: that began it.
        chunks: for the client; to be read to their end, or closed.
        relay: what the client has so far: tokens, whether it has the end. Read it when `chunks`
            has ended.
    """

    site: str
    chunks: Pieces
    relay: Relay


class TryNextError(Exception):
    """This site cannot answer, or not go on; others may.

    Args:
        reason: one line.
        busy: its line is full.
        unreachable: it is gone, or silent.
        faulty: it failed, as no healthy site does.
        engine: its engine failed at this request.
        absent: it does not hold the service, or not the version that was asked for.
    """

    def __init__(
        self,
        reason: str,
        *,
        busy: bool = False,
        unreachable: bool = False,
        faulty: bool = False,
        engine: bool = False,
        absent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.busy = busy
        self.unreachable = unreachable
        self.faulty = faulty
        self.engine = engine
        self.absent = absent

    @property
    def kind(self) -> str:
        """Which of these it is."""
        words = {"unreachable": self.unreachable, "faulty": self.faulty, "busy": self.busy}
        return next((word for word, is_it in words.items() if is_it), "moved")
