"""An OTLP/HTTP receiver on loopback: parses what it is sent, and keeps the spans."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Seen:
    """One span, as a receiver sees it."""

    process: str
    instance: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    begun_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, Any]
    links: list[str]


@dataclass
class Receiver:
    spans: list[Seen] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    url: str = ""
    _server: Any = None

    def start(self) -> "Receiver":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                outer.paths.add(self.path)
                outer.take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            told = _plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_seen(span, told) for span in scope.spans]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def until(self, done: Callable[[list[Seen]], bool], within_s: float = 15.0) -> list[Seen]:
        deadline_s = time.monotonic() + within_s
        while not done(list(self.spans)):
            names = [(s.process, s.name) for s in self.spans]
            assert time.monotonic() < deadline_s, f"it did not come; came: {names}"
            time.sleep(0.02)
        return list(self.spans)


def _seen(span: Any, told: dict[str, Any]) -> Seen:
    return Seen(
        told["service.name"],
        told["service.instance.id"],
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        _plain(span.attributes),
        [link.span_id.hex() for link in span.links],
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {a.key: _value(a.value) for a in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    return getattr(value, kind)
