"""A site that is cordoned takes nothing new; one that is drained hands over what it serves."""

import json

from tests.control import grids

from aigrid.control import snapshot
from aigrid.control.policy import Policy
from aigrid.core.events import (
    Heartbeat,
    ServiceDeployed,
    SiteHeld,
    SiteJoined,
    StartReplica,
    StopReplica,
)


def routed(orchestrator, service="chat"):
    return {site for site, _ in orchestrator.routes.candidates("*", service)}


def started(commands):
    return {(c.site, c.service) for c in grids.of_kind(commands, StartReplica)}


def test_a_drained_site_stops_and_leaves_the_routes_at_once():
    orchestrator = grids.grid()
    assert routed(orchestrator) == {"f", "h", "t1"}
    commands = orchestrator.handle(2.0, SiteHeld("h", "draining"))
    assert [c.site for c in grids.of_kind(commands, StopReplica)] == ["h"]
    assert routed(orchestrator) == {"f", "t1"}
    assert not started(orchestrator.handle(3.0, Heartbeat("h")))


def test_a_drained_site_that_is_let_go_serves_again():
    orchestrator = grids.grid()
    orchestrator.handle(2.0, SiteHeld("h", "draining"))
    orchestrator.handle(3.0, Heartbeat("h"))
    assert started(orchestrator.handle(4.0, SiteHeld("h", "free"))) == {("h", "chat")}
    orchestrator.handle(5.0, Heartbeat("h", replicas=(grids.ready(),)))
    assert routed(orchestrator) == {"f", "h", "t1"}


def test_a_cordoned_site_serves_on_and_gets_nothing_new():
    orchestrator = grids.grid()
    commands = orchestrator.handle(2.0, SiteHeld("h", "cordoned"))
    assert not grids.of_kind(commands, StopReplica)
    assert routed(orchestrator) == {"f", "h", "t1"}
    commands = orchestrator.handle(3.0, ServiceDeployed("embed", "sha256:2", 100))
    assert started(commands) == {("f", "embed"), ("t1", "embed")}


def test_a_hold_outlives_a_restart_of_the_site():
    orchestrator = grids.grid()
    orchestrator.handle(2.0, SiteHeld("h", "draining"))
    assert not started(orchestrator.handle(3.0, SiteJoined(grids.site("h"))))


def test_a_hold_may_come_before_the_site():
    orchestrator = grids.grid(("f",))
    orchestrator.handle(2.0, SiteHeld("h", "draining"))
    assert not started(orchestrator.handle(3.0, SiteJoined(grids.site("h"))))
    assert started(orchestrator.handle(4.0, SiteHeld("h", "free"))) == {("h", "chat")}


def test_a_snapshot_knows_who_is_held():
    orchestrator = grids.grid()
    orchestrator.handle(2.0, SiteHeld("h", "draining"))
    orchestrator.handle(2.0, SiteHeld("nobody", "cordoned"))
    raw = json.loads(json.dumps(snapshot.take(orchestrator)))
    again = snapshot.restore(Policy(), raw, "test")
    assert again.holds == orchestrator.holds
    assert not started(again.handle(3.0, SiteJoined(grids.site("h"))))
