import itertools
import json

import pytest
from hypothesis import given, settings
from tests.control import grids

from aigrid.control import recording, snapshot
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.core import codec
from aigrid.core.events import (
    AskToJoin,
    DemandRow,
    DemandSeen,
    Heartbeat,
    PublishRoutes,
    ReplicaReport,
    ServiceDeployed,
    ServiceUndeployed,
    SetShare,
    SiteJoined,
    SiteLeft,
    SiteStatusChanged,
    SiteUnreachable,
    StartReplica,
    StopReplica,
    Tick,
)


def as_written(decided):
    return [[recording.written(command) for command in commands] for commands in decided]


def routed(orchestrator, service="chat"):
    return {site for site, _ in orchestrator.routes.candidates("*", service)}


# -- any history -----------------------------------------------------------------------------


@settings(max_examples=150)
@given(grids.histories)
def test_no_history_raises_or_routes_to_a_site_that_does_not_serve(history):
    orchestrator, now_s, reported, stopping = Orchestrator(), 0.0, {}, set()
    for step_s, event in history:
        now_s += step_s
        commands = orchestrator.handle(now_s, event)
        if isinstance(event, Heartbeat):
            reported[event.site] = {r.service for r in event.replicas if r.digest}
            reported[event.site] -= {service for site, service in stopping if site == event.site}
        for command in grids.of_kind(commands, StartReplica):
            stopping.discard((command.site, command.service))
        for command in grids.of_kind(commands, StopReplica):
            # A report that crossed the order to stop says nothing about what will be.
            stopping.add((command.site, command.service))
            reported.get(command.site, set()).discard(command.service)
        for service in orchestrator.routes.services:
            for site in routed(orchestrator, service):
                assert service in reported[site]
                row = orchestrator.state.site_row[site]
                assert orchestrator.state.sites.share[row] > 0.0


@settings(max_examples=60)
@given(grids.histories)
def test_the_same_events_decoded_from_json_give_the_same_decisions(history):
    decoded = [
        (step_s, codec.decode(json.loads(json.dumps(codec.encode(event))), "test"))
        for step_s, event in history
    ]
    assert [event for _, event in decoded] == [event for _, event in history]
    first = as_written(grids.play(Orchestrator(), history))
    assert as_written(grids.play(Orchestrator(), decoded)) == first


@settings(max_examples=60)
@given(grids.histories, grids.histories)
def test_a_restored_orchestrator_goes_on_as_the_first_would_have(before, after):
    first = Orchestrator()
    grids.play(first, before)
    saved = json.loads(json.dumps(snapshot.take(first)))
    second = snapshot.restore(first.policy, saved, "test")
    assert snapshot.take(second) == snapshot.take(first)
    assert as_written(grids.play(second, after)) == as_written(grids.play(first, after))
    assert snapshot.take(second) == snapshot.take(first)


@settings(max_examples=60)
@given(grids.histories)
def test_a_duplicated_event_changes_neither_placement_nor_routes(history):
    once, twice = Orchestrator(), Orchestrator()
    now_s = 0.0
    for step_s, event in history:
        now_s += abs(step_s)
        once.handle(now_s, event)
        twice.handle(now_s, event)
        again = twice.handle(now_s, event)
        # Joining and deploying ask for a fresh start; nothing else asks for anything twice.
        if not isinstance(event, SiteJoined | ServiceDeployed):
            assert not grids.of_kind(again, StartReplica)
        assert set(routed(once)) == set(routed(twice))


# -- sites -----------------------------------------------------------------------------------


def test_an_empty_grid_answers_every_event():
    for event in (Tick(), SiteLeft("x"), SiteUnreachable("x"), ServiceUndeployed("x")):
        Orchestrator().handle(0.0, event)
    commands = Orchestrator().handle(0.0, ServiceDeployed("chat", "sha256:1", 1))
    assert not grids.of_kind(commands, StartReplica)


def test_a_stranger_is_asked_to_join():
    assert AskToJoin("x") in Orchestrator().handle(0.0, Heartbeat("x"))


def test_a_tower_starts_without_a_share_and_a_hub_with_all():
    orchestrator = Orchestrator()
    assert SetShare("t1", 0.0) in orchestrator.handle(0.0, SiteJoined(grids.site("t1")))
    assert SetShare("h", 1.0) in orchestrator.handle(0.0, SiteJoined(grids.site("h")))


def test_a_silent_site_is_lost_and_a_late_heartbeat_brings_it_back():
    orchestrator = grids.grid(("f", "h"))
    orchestrator.handle(3.5, Heartbeat("f", replicas=(grids.ready(),)))
    commands = orchestrator.handle(3.6, Tick())
    assert SiteStatusChanged("h", "lost") in commands
    assert routed(orchestrator) == {"f"}
    commands = orchestrator.handle(4.0, Heartbeat("h", replicas=(grids.ready(),)))
    assert SiteStatusChanged("h", "up") in commands
    assert routed(orchestrator) == {"f", "h"}


def test_an_unreachable_site_leaves_the_routes_at_once():
    orchestrator = grids.grid(("f", "h"))
    commands = orchestrator.handle(1.01, SiteUnreachable("h"))
    assert grids.of_kind(commands, PublishRoutes)
    assert routed(orchestrator) == {"f"}
    assert orchestrator.handle(1.02, SiteUnreachable("h")) == []


def test_a_site_that_restarts_serves_again_only_when_it_says_so():
    orchestrator = grids.grid(("f", "h"))
    commands = orchestrator.handle(2.0, SiteJoined(grids.site("h")))
    assert StartReplica("h", "chat", "sha256:1") in commands
    assert routed(orchestrator) == {"f"}
    orchestrator.handle(2.5, Heartbeat("h", replicas=(grids.ready(),)))
    assert routed(orchestrator) == {"f", "h"}


# -- services --------------------------------------------------------------------------------


def test_a_new_version_is_started_while_the_old_one_serves():
    orchestrator = grids.grid(("f", "h"))
    commands = orchestrator.handle(2.0, ServiceDeployed("chat", "sha256:2", 100))
    assert grids.of_kind(commands, StartReplica) == [
        StartReplica("f", "chat", "sha256:2"),
        StartReplica("h", "chat", "sha256:2"),
    ]
    assert routed(orchestrator) == {"f", "h"}


def failing(site="h"):
    report = ReplicaReport("chat", "sha256:1", "sha256:2", "failed", error="wrong digest")
    return Heartbeat(site, replicas=(report,))


def test_a_version_that_fails_is_tried_again_after_a_growing_pause():
    orchestrator = grids.grid(("h",))
    orchestrator.handle(2.0, ServiceDeployed("chat", "sha256:2", 100))
    starts = []
    for step in range(400):
        now_s = 3.0 + step * 0.25
        commands = orchestrator.handle(now_s, failing())
        starts += [now_s for _ in grids.of_kind(commands, StartReplica)]
        assert routed(orchestrator) == {"h"}
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert starts[0] - 3.0 == pytest.approx(Policy().retry_s, abs=0.5)
    assert pauses == sorted(pauses)
    assert len(starts) == 4


def test_an_undeployed_service_is_stopped_and_leaves_the_routes():
    orchestrator = grids.grid(("f", "h"))
    commands = orchestrator.handle(2.0, ServiceUndeployed("chat"))
    assert StopReplica("f", "chat") in commands
    assert StopReplica("h", "chat") in commands
    assert routed(orchestrator) == set()


def test_a_service_deployed_again_has_no_routes_before_it_is_ready_again():
    orchestrator = grids.grid(("h",))
    orchestrator.handle(2.0, ServiceUndeployed("chat"))
    # The site reads the order in the answer to this heartbeat, and stops.
    orchestrator.handle(2.2, Heartbeat("h", replicas=(grids.ready(),)))
    orchestrator.handle(2.3, ServiceDeployed("chat", "sha256:1", 100))
    assert routed(orchestrator) == set()
    orchestrator.handle(2.5, Heartbeat("h"))
    assert routed(orchestrator) == set()
    orchestrator.handle(2.8, Heartbeat("h", replicas=(grids.ready(),)))
    assert routed(orchestrator) == {"h"}


def test_a_version_that_may_stand_in_fewer_regions_is_stopped_elsewhere():
    orchestrator = Orchestrator()
    for name, region in (("f", "north"), ("h", "south")):
        orchestrator.handle(0.0, SiteJoined(grids.site(name, region=region)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100))
    commands = orchestrator.handle(
        1.0, ServiceDeployed("chat", "sha256:2", 100, regions=("north",))
    )
    assert StopReplica("h", "chat") in commands
    assert StartReplica("f", "chat", "sha256:2") in commands


# -- radio -----------------------------------------------------------------------------------


def shares_over(orchestrator, needs, from_s):
    shares = []
    for step, need_cores in enumerate(needs):
        now_s = from_s + 0.25 * step
        beat = Heartbeat("t1", radio_need_cores=need_cores, replicas=(grids.ready(),))
        orchestrator.handle(now_s, beat)
        shares.append(float(orchestrator.state.sites.share[orchestrator.state.site_row["t1"]]))
    return shares


def test_a_surge_takes_the_share_away_and_the_route_with_it_and_both_come_back():
    orchestrator = grids.grid(("f", "h", "t1"))
    near_all = pytest.approx(0.8, abs=Policy().guard_step + 1e-9)
    assert shares_over(orchestrator, [0.2] * 40, 1.0)[-1] == near_all
    assert "t1" in routed(orchestrator)
    assert shares_over(orchestrator, [2.0], 11.0) == [0.0]
    assert "t1" not in routed(orchestrator)
    assert shares_over(orchestrator, [0.2] * 40, 12.0)[-1] == near_all
    assert "t1" in routed(orchestrator)


def test_a_long_busy_spell_does_not_end_in_a_leap():
    orchestrator = grids.grid(("t1",))
    busy = shares_over(orchestrator, [1.4] * 400, 1.0)[-1]
    first = shares_over(orchestrator, [0.0], 101.0)[0]
    assert first - busy <= Policy().guard_rise_per_s * 0.25 + 1e-9


def test_a_few_missed_slots_are_tolerated_and_many_are_not():
    orchestrator = grids.grid(("t1",))
    before = shares_over(orchestrator, [0.0] * 40, 1.0)[-1]
    row = orchestrator.state.site_row["t1"]
    orchestrator.handle(12.0, Heartbeat("t1", slots_on_time=10_000, slots_missed=1))
    assert orchestrator.state.sites.share[row] == before
    orchestrator.handle(12.3, Heartbeat("t1", slots_on_time=10_200, slots_missed=50))
    assert orchestrator.state.sites.share[row] <= before * Policy().guard_miss_factor


def test_notice_of_a_busy_hour_comes_before_it_on_the_second_day():
    """Every day at noon the radio takes all; what was learned the day before is told ahead."""
    policy = Policy(notice_s=900.0)
    orchestrator, told = Orchestrator(policy), []
    orchestrator.handle(0.0, SiteJoined(grids.site("t1")))
    for minute in range(0, 2 * 1440, 15):
        now_s = 60.0 * minute + 2.0
        busy = 720 <= minute % 1440 < 780
        beat = Heartbeat("t1", radio_need_cores=2.0 if busy else 0.2)
        commands = orchestrator.handle(now_s, beat)
        orchestrator.handle(now_s, Tick())
        told += [(minute, c) for c in grids.of_kind(commands, SetShare) if c.next_share < 1.0]
    assert told == [(1440 + 705, SetShare("t1", 0.8, 0.0, 900.0))]


# -- demand ----------------------------------------------------------------------------------


def busy_grid():
    """Two towers below a hub, whose requests stay half a second."""
    orchestrator = grids.grid(("f", "h", "t1", "t2"))
    for step in range(40):
        now_s = 2.0 + 0.25 * step
        for name in ("f", "h", "t1", "t2"):
            report = ReplicaReport("chat", "sha256:1", "", "ready", running=1, requests_per_s=2.0)
            orchestrator.handle(now_s, Heartbeat(name, replicas=(report,)))
    return orchestrator


def asked(orchestrator, origin, requests_per_s, from_s):
    """Tell of so many requests, every two seconds; weights of that origin, after each."""
    weights = []
    for step in range(30):
        now_s = from_s + 2.0 * step
        rows = (DemandRow(origin, "chat", round(2 * requests_per_s)),)
        orchestrator.handle(now_s, DemandSeen(rows))
        for name in ("f", "h", "t1", "t2"):
            report = ReplicaReport("chat", "sha256:1", "", "ready", running=1, requests_per_s=2.0)
            orchestrator.handle(now_s + 0.5, Heartbeat(name, replicas=(report,)))
        orchestrator.handle(now_s + 1.0, Tick())
        weights.append(dict(orchestrator.routes.candidates(origin, "chat")))
    return weights


def test_known_demand_is_served_at_its_place_and_what_is_too_much_above():
    few = asked(busy_grid(), "t1", 5.0, 12.0)[-1]
    assert few["t1"] > 0.9
    assert set(few) == {"f", "h", "t1", "t2"}
    many = asked(busy_grid(), "t1", 40.0, 12.0)[-1]
    assert many["t1"] < 0.6
    assert many["t2"] + many["h"] + many["f"] > 0.4


def test_demand_that_ends_is_forgotten():
    orchestrator = busy_grid()
    asked(orchestrator, "t1", 5.0, 12.0)
    for step in range(400):
        now_s = 80.0 + step
        for name in ("f", "h", "t1", "t2"):
            orchestrator.handle(now_s, Heartbeat(name, replicas=(grids.ready(),)))
        orchestrator.handle(now_s, Tick())
    assert not orchestrator.state.replicas.demand_per_s.any()
    assert dict(orchestrator.routes.candidates("t1", "chat"))["t1"] < 0.5


def test_demand_of_unheard_of_services_and_places_does_no_harm():
    orchestrator = busy_grid()
    rows = (
        DemandRow("nowhere", "chat", 5),
        DemandRow("t1", "nothing", 5),
        DemandRow("t1", "chat", -1),
    )
    orchestrator.handle(20.0, DemandSeen(rows))
    assert orchestrator.state.services.demand_per_s[0] == pytest.approx(0.5)
    assert not orchestrator.state.replicas.demand_per_s.any()


def test_in_a_large_grid_those_that_come_wait_and_those_that_go_do_not():
    orchestrator = Orchestrator(Policy(route_batch_sites=2))
    for name in ("f", "h", "t1"):
        orchestrator.handle(0.0, SiteJoined(grids.site(name)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100))
    for name in ("f", "h"):
        orchestrator.handle(0.1, Heartbeat(name, replicas=(grids.ready(),)))
    assert routed(orchestrator) == set()
    orchestrator.handle(0.6, Tick())
    assert routed(orchestrator) == {"f", "h"}
    orchestrator.handle(0.7, SiteUnreachable("h"))
    assert routed(orchestrator) == {"f"}
