"""What every process tells Prometheus, and what a gateway measures of each answer.

Labels are bounded: services that were deployed, sites of the grid, codes of the error tree.
Tenants, keys and request ids are no labels: `aigrid usage` and traces have them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily, Metric
from starlette.responses import Response

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.5, 1.0, 2.5)
ERRORS = Counter("aigrid_errors_total", "Requests answered with an error", ("code",))
TTFT = Histogram(
    "aigrid_gateway_time_to_first_token_seconds",
    "From the door to the first token of a streamed answer",
    ("service",),
    buckets=SECONDS,
)
TPOT = Histogram(
    "aigrid_gateway_time_per_output_token_seconds",
    "Per token after the first, of a streamed answer",
    ("service",),
    buckets=TOKEN_SECONDS,
)
DURATION = Histogram(
    "aigrid_gateway_request_duration_seconds",
    "From the door to the end of an answer",
    ("service",),
    buckets=SECONDS,
)
TOKENS = Counter("aigrid_gateway_tokens_total", "Tokens of answers", ("service", "type"))
OPEN_REQUESTS = Gauge("aigrid_gateway_open_requests", "Requests that have not ended")
OPEN_STREAMS = Gauge("aigrid_gateway_open_streams", "Streamed answers that have not ended")
BREAKERS = Gauge("aigrid_gateway_breakers", "Replicas that failed, by their breaker", ("state",))
BACKLOG = Gauge("aigrid_gateway_usage_backlog_bytes", "Usage that no control plane has taken yet")
ROUTES = Gauge("aigrid_gateway_routes_version", "Version of the routing table in force")


class _OfService(NamedTuple):
    ttft: Histogram
    tpot: Histogram
    duration: Histogram
    prompt: Counter
    made: Counter


_services: dict[str, _OfService] = {}


def _of(service: str) -> _OfService:
    """The children of one service; looked up once."""
    found = _services.get(service)
    if found is None:
        found = _services[service] = _OfService(
            TTFT.labels(service),
            TPOT.labels(service),
            DURATION.labels(service),
            TOKENS.labels(service, "input"),
            TOKENS.labels(service, "output"),
        )
    return found


class Watch:
    """Times one answer, from now on."""

    __slots__ = ("_begun_s", "_first_made", "_first_s")

    def __init__(self) -> None:
        self._begun_s = time.perf_counter()
        self._first_s, self._first_made = 0.0, 0

    def piece(self, made: int) -> None:
        """So many tokens have gone out by now."""
        if made and not self._first_s:
            self._first_s, self._first_made = time.perf_counter(), made

    def end(self, service: str, prompt_tokens: int, made: int) -> None:
        """It was an answer, and is over."""
        now_s, to = time.perf_counter(), _of(service)
        to.duration.observe(now_s - self._begun_s)
        to.prompt.inc(prompt_tokens)
        to.made.inc(made)
        if self._first_s:
            to.ttft.observe(self._first_s - self._begun_s)
            if made > self._first_made:
                to.tpot.observe((now_s - self._first_s) / (made - self._first_made))


class _BuildInfo:
    """Which code a process runs, as Prometheus's own `*_build_info`.

    Args:
        process: `control`, `gateway` or `site`.
    """

    def __init__(self, process: str) -> None:
        self._labels = [version("aigrid"), process]

    def collect(self) -> Iterator[Metric]:
        """One gauge of 1."""
        info = GaugeMetricFamily("aigrid_build_info", "What runs", labels=["version", "process"])
        info.add_metric(self._labels, 1.0)
        yield info


def registry(process: str) -> CollectorRegistry:
    """Says which code a process runs."""
    made = CollectorRegistry()
    made.register(_BuildInfo(process))
    return made


def page(*registries: CollectorRegistry) -> Response:
    """This process's metrics and those of further registries, in Prometheus's text format."""
    text = b"".join(generate_latest(registry) for registry in (REGISTRY, *registries))
    return Response(text, media_type=CONTENT_TYPE_LATEST)
