"""The whole grid in numbers, for Prometheus; read when it asks, and never one series a site."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from aigrid.core.state import STATUS_NAMES, UP
from aigrid.live import metrics, status
from aigrid.live.control_plane import ControlPlane
from aigrid.live.paths import restarts


def registry_of(plane: ControlPlane) -> CollectorRegistry:
    """What a control plane tells of its grid."""
    registry = metrics.registry("control")
    registry.register(_GridCollector(plane))
    return registry


class _GridCollector:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def collect(self) -> Iterator[Metric]:
        """Sites, services, radio, routes, and how the control plane itself does."""
        yield from self._own()
        yield from self._sites()
        yield from self._services()
        yield from self._radio()

    def _own(self) -> Iterator[Metric]:
        plane = self._plane
        decides = float(plane.failure is None)
        yield GaugeMetricFamily("aigrid_control_orchestrator_up", "It decides", decides)
        uptime_s = time.monotonic() - plane.started_s
        yield GaugeMetricFamily("aigrid_control_uptime_seconds", "Since its start", uptime_s)
        version = float(plane.board.routes_version)
        yield GaugeMetricFamily("aigrid_control_routes_version", "Routing tables so far", version)
        seen_s = plane.gateway.get("seen_s", float("-inf"))
        up = float(time.monotonic() - seen_s < 5.0)
        yield GaugeMetricFamily("aigrid_control_gateway_up", "A gateway reports", up)
        ended = sum(restarts(plane.paths).values())
        yield CounterMetricFamily("aigrid_control_restarts", "Processes started again", ended)

    def _sites(self) -> Iterator[Metric]:
        plane, state = self._plane, self._plane.orchestrator.state
        count = state.site_count
        kinds = [
            record.kind if (record := plane.records.get(name)) else ""
            for name in state.site_names[:count]
        ]
        words = [STATUS_NAMES[code] for code in state.sites.status[:count].tolist()]
        sites = GaugeMetricFamily("aigrid_control_sites", "Sites", labels=["kind", "status"])
        for (kind, word), number in Counter(zip(kinds, words, strict=True)).items():
            sites.add_metric([kind, word], number)
        yield sites
        up = state.sites.status[:count] == UP
        share = float(state.sites.share[:count][up].mean()) if up.any() else 0.0
        yield GaugeMetricFamily("aigrid_control_ai_share", "Of sites that are up, mean", share)

    def _services(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "aigrid_control_ready_sites", "Sites that serve it", labels=["service"]
        )
        wanted = GaugeMetricFamily(
            "aigrid_control_wanted_sites", "Sites that shall serve it", labels=["service"]
        )
        for row in status.service_rows(self._plane, status.site_rows(self._plane)):
            ready.add_metric([row["name"]], row["ready_sites"])
            wanted.add_metric([row["name"]], row["wanted_sites"])
        yield from (ready, wanted)

    def _radio(self) -> Iterator[Metric]:
        state = self._plane.orchestrator.state
        columns, count = state.sites, state.site_count
        slots = CounterMetricFamily("aigrid_control_radio_slots", "All sites", labels=["outcome"])
        slots.add_metric(["on_time"], float(columns.slots_on_time[:count].sum()))
        slots.add_metric(["missed"], float(columns.slots_missed[:count].sum()))
        yield slots
