"""Traces: what one request did where, from its client to the engine that answers it.

A request carries one `Span`; whoever works on it opens children of it. Where tracing is off, or the
request is not sampled, the spans are `OFF` and its kind: calls of it do nothing. Names and
attributes are OpenTelemetry's conventions for HTTP and generative AI, contexts travel as W3C
`traceparent`. Content never goes into a span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

Kind = Literal["internal", "client", "server"]
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]
SCOPE_KEY = "aigrid.span"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where traces go.

    Attributes:
        endpoint: base URL of an OTLP/HTTP receiver; empty for no traces.
        ratio: of requests that are traced, unless their client says which.
    """

    endpoint: str = ""
    ratio: float = 1.0


class Span(Protocol):
    """Some work on a request; leave it as a context manager, or call `end` once."""

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""
        ...

    @property
    def traceparent(self) -> str:
        """For whoever works under it in another process; empty where tracing is off."""
        ...

    @property
    def trace_id(self) -> str:
        """In hexadecimal digits; empty where tracing is off."""
        ...

    def begin(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        after: Span | None = None,
        at_ns: int | None = None,
    ) -> Span:
        """A child.

        Args:
            name: low in number.
            attributes: known from the start.
            kind: of OpenTelemetry.
            after: another span that this one goes on from, as a link.
            at_ns: Unix time of its begin; None for now.
        """
        ...

    def set(self, attributes: Attributes) -> None:
        """What is known by now."""
        ...

    def name(self, name: str) -> None:
        """A better name than it began with."""
        ...

    def fail(self, kind: str, reason: str = "") -> None:
        """It went wrong; `kind` is one of a small set."""
        ...

    def end(self, at_ns: int | None = None) -> None:
        """It is over; again and again does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Unrecorded:
    """A span that nobody sees; its children are itself.

    Args:
        traceparent: says to other processes that the request is not sampled.
    """

    __slots__ = ("trace_id", "traceparent")
    recorded = False

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent
        self.trace_id = traceparent[3:35]

    def begin(self, name: str, attributes: Attributes | None = None, **more: Any) -> Self:
        """Itself."""
        return self

    def set(self, attributes: Attributes) -> None:
        """Nothing."""

    def name(self, name: str) -> None:
        """Nothing."""

    def fail(self, kind: str, reason: str = "") -> None:
        """Nothing."""

    def end(self, at_ns: int | None = None) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


OFF = Unrecorded()
NOWHERE = Telemetry()


def of(scope: Mapping[str, Any]) -> Span:
    """The span of the request that an ASGI scope describes."""
    found: Span = scope.get(SCOPE_KEY, OFF)
    return found
