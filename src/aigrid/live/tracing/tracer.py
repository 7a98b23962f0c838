"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP; imported only where tracing is on."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter

from aigrid.control import quota
from aigrid.core.errors import AigridError
from aigrid.live.tracing import Attributes, Kind, Span, Telemetry, Unrecorded

QUEUE_LIMIT = 8192
BATCH = 512
PERIOD_S = 1.0
TIMEOUT_S = 3.0
ASKED_PER_MIN = 6000.0  # traces that clients may ask for, on top of those that are drawn
TEXT_LIMIT = 256
TRACES_PATH = "/v1/traces"
SPANS = Counter("aigrid_trace_spans", "Spans by what became of them", ("outcome",))
_EXPORTED, _FAILED, _DROPPED = map(SPANS.labels, ("exported", "failed", "dropped"))
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "server": SpanKind.SERVER}
_PROPAGATOR = TraceContextTextMapPropagator()
_NOWHERE = Context()
logger = logging.getLogger(__name__)


class Recorded:
    """A span that is seen; see `tracing.Span`."""

    __slots__ = ("_context", "_span", "_tracer")
    recorded = True

    def __init__(self, tracer: Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._context: Context | None = None

    @property
    def traceparent(self) -> str:
        """For whoever works under it."""
        return _traceparent(self._span)

    @property
    def trace_id(self) -> str:
        """In hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def begin(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        after: Span | None = None,
        at_ns: int | None = None,
    ) -> Recorded:
        """A child."""
        if self._context is None:
            self._context = trace.set_span_in_context(self._span, _NOWHERE)
        links = [Link(after._span.get_span_context())] if isinstance(after, Recorded) else None
        span = self._tracer.start_span(
            name, self._context, _KINDS[kind], attributes, links, at_ns, record_exception=False
        )
        return Recorded(self._tracer, span)

    def set(self, attributes: Attributes) -> None:
        """What is known by now."""
        self._span.set_attributes(dict(attributes))

    def name(self, name: str) -> None:
        """A better name than it began with."""
        self._span.update_name(name)

    def fail(self, kind: str, reason: str = "") -> None:
        """It went wrong."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, reason[:TEXT_LIMIT] or None))

    def end(self, at_ns: int | None = None) -> None:
        """It is over."""
        if self._span.is_recording():
            self._span.end(at_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error.code if isinstance(error, AigridError) else type(error).__name__)
        self.end()


class Shipper(SpanProcessor):
    """Hands ended spans to an exporter from a thread of its own; a full queue drops, and counts.

    The SDK's own processor logs what it drops and counts it in metrics of its own kind alone.

    Args:
        exporter: may be slow, fail, or hang for as long as its timeout; nobody waits for it.
        limit: of spans that wait.
    """

    def __init__(self, exporter: SpanExporter, limit: int = QUEUE_LIMIT) -> None:
        self._exporter = exporter
        self._spans: queue.Queue[ReadableSpan] = queue.Queue(limit)
        self._ending = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span; never waits."""
        try:
            self._spans.put_nowait(span)
        except queue.Full:
            _DROPPED.inc()

    def shutdown(self) -> None:
        """Send what waits, for as long as the exporter takes for one batch at most."""
        self._ending.set()
        self._thread.join(TIMEOUT_S)
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Batches go by themselves."""
        return True

    def _work(self) -> None:
        while not self._ending.wait(PERIOD_S) or not self._spans.empty():
            while batch := self._batch():
                self._send(batch)

    def _batch(self) -> list[ReadableSpan]:
        count = min(self._spans.qsize(), BATCH)
        return [self._spans.get_nowait() for _ in range(count)]

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # a receiver's fault must not end the sending of traces
            logger.warning("traces: %s", type(error).__name__)
            sent = False
        (_EXPORTED if sent else _FAILED).inc(len(batch))
        if sent == self._failing:
            self._failing = not sent
            logger.warning("traces are %s", "taken again" if sent else "not taken")


class Asked(Sampler):
    """Samples what its client says is sampled, as long as such requests are not too many."""

    def __init__(self, per_min: float = ASKED_PER_MIN) -> None:
        self._per_min, self._clock_s = per_min, time.monotonic
        self._bucket = quota.full(per_min, self._clock_s())
        self._lock = threading.Lock()

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        """Take one from the bucket."""
        with self._lock:
            wait_s = quota.take(self._bucket, self._per_min, 1.0, self._clock_s())
        decision = Decision.DROP if wait_s else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, attributes)

    def get_description(self) -> str:
        """For people."""
        return f"Asked({self._per_min:.0f}/min)"


class ProcessTracer:
    """Makes the spans of one process.

    Args:
        telemetry: where they go.
        process: `gateway` or `site`.
        instance: which one.
        at_the_door: whether strangers call: what they want traced is bounded.
    """

    def __init__(
        self, telemetry: Telemetry, process: str, instance: str, *, at_the_door: bool
    ) -> None:
        resource = Resource.create(
            {
                "service.namespace": "aigrid",
                "service.name": f"aigrid-{process}",
                "service.instance.id": instance,
                "service.version": version("aigrid"),
                "process.pid": os.getpid(),
            }
        )
        url = telemetry.endpoint.rstrip("/")
        endpoint = url if url.endswith(TRACES_PATH) else url + TRACES_PATH
        self._provider = TracerProvider(
            sampler=ParentBased(
                TraceIdRatioBased(telemetry.ratio),
                remote_parent_sampled=Asked() if at_the_door else ALWAYS_ON,
            ),
            resource=resource,
            shutdown_on_exit=False,
            span_limits=SpanLimits(
                max_span_attributes=32,
                max_links=4,
                max_events=0,
                max_span_attribute_length=TEXT_LIMIT,
            ),
        )
        self._provider.add_span_processor(
            Shipper(OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_S))
        )
        self._tracer = self._provider.get_tracer("aigrid", version("aigrid"))

    def serve(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """The span of a request that came in.

        Args:
            name: of the span.
            headers: `traceparent` and `tracestate`, where the request has them.
            attributes: of the span.
        """
        context = _PROPAGATOR.extract(headers, _NOWHERE) if headers else _NOWHERE
        span = self._tracer.start_span(
            name, context, SpanKind.SERVER, attributes, record_exception=False
        )
        if span.is_recording():
            return Recorded(self._tracer, span)
        return Unrecorded(_traceparent(span))

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _traceparent(span: trace.Span) -> str:
    context = span.get_span_context()
    trace_id, span_id = context.trace_id, context.span_id
    return f"00-{trace_id:032x}-{span_id:016x}-{int(context.trace_flags) & 1:02x}"
