"""Lets an orchestrator decide once about a grid of its own, so that its kernels are compiled."""

from __future__ import annotations

from aigrid.control.orchestrator import Orchestrator
from aigrid.core.events import (
    DemandRow,
    DemandSeen,
    Event,
    Heartbeat,
    ReplicaReport,
    ServiceDeployed,
    SiteJoined,
    Tick,
)
from aigrid.core.site import Cell, Site


def decide_once() -> None:
    """Walk every path that compiles; seconds at the first start, a fraction of one later."""
    orchestrator = Orchestrator()
    report = ReplicaReport("m", "d", "", "ready", running=1, requests_per_s=1.0)
    events: tuple[Event, ...] = (
        SiteJoined(Site("h", "hub", "r")),
        SiteJoined(Site("t", "tower", "r", parent="h", cells=(Cell("c"),))),
        ServiceDeployed("m", "d", 1),
        Tick(),
        Heartbeat("h", replicas=(report,)),
        DemandSeen((DemandRow("t", "m", 1),)),
        Heartbeat("t", replicas=(report,)),
        Tick(),
    )
    # A day apart: what was learned the day before is used the day after.
    for day in (0.0, 86400.0):
        for second, event in enumerate(events):
            orchestrator.handle(day + second, event)
