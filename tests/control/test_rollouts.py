import json

import pytest
from tests.control import grids

from aigrid.control import recording, snapshot
from aigrid.control.rollouts import SETTLE_S
from aigrid.core.events import (
    Heartbeat,
    ReplicaReport,
    RolloutMoved,
    RolloutStarted,
    RolloutSteered,
    ServiceDeployed,
    ServiceUndeployed,
    SiteHeld,
    SiteJoined,
    StartReplica,
    StopReplica,
    Tick,
    VersionsSeen,
)
from aigrid.core.rollout import RolloutPlan, VersionCounts

PLAN = RolloutPlan(min_requests=20, min_s=10.0, limit_s=100.0, keep_s=60.0)
NEW, OLD = "sha256:2", "sha256:1"
BESIDE = "chat@beside"


class Grid:
    """Sites that obey at once: every order is in the next heartbeat."""

    def __init__(self, names=("f", "h"), **started):
        self.grid, self.now_s, self.names = grids.grid(names), 1.0, names
        self.held = {name: {"chat": OLD} for name in names}
        self.running = {}
        self.moves = []
        self.do(RolloutStarted("chat", "r1", NEW, 100, **({"plan": PLAN} | started)))

    def do(self, event):
        commands = self.grid.handle(self.now_s, event)
        for command in commands:
            if isinstance(command, StartReplica):
                self.held[command.site][command.service] = command.digest
            elif isinstance(command, StopReplica):
                self.held[command.site].pop(command.service, None)
            elif isinstance(command, RolloutMoved):
                self.moves.append(command)
        return commands

    def pass_time(self, for_s):
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            self.now_s += 0.5
            for name in self.names:
                reports = [
                    grids.ready(service, digest, running=self.running.get((name, digest), 0))
                    for service, digest in self.held[name].items()
                ]
                self.do(Heartbeat(name, replicas=tuple(reports)))
            self.do(Tick())

    def tell(self, new, old, gateway="g", rollout="r1"):
        self.do(VersionsSeen("chat", rollout, gateway, VersionCounts(*new), VersionCounts(*old)))

    @property
    def phases(self):
        return [move.phase for move in self.moves]

    @property
    def track(self):
        return self.grid.routes.track("chat")

    def holders(self, digest):
        return {name for name in self.names if digest in self.held[name].values()}


def test_the_new_version_stands_beside_the_old_one_and_gets_its_share():
    grid = Grid(("f", "h", "t1"))
    grid.pass_time(2.0)
    assert grid.phases == ["loading", "watching"]
    both = grid.holders(NEW)
    assert len(both) == 2
    assert grid.holders(OLD) == {"f", "h", "t1"}
    assert (grid.track.beside, grid.track.digest, grid.track.share) == (BESIDE, NEW, PLAN.share)
    assert {site for site, _ in grid.grid.routes.candidates("*", BESIDE)} <= both


def test_a_tenth_of_many_sites_gets_it():
    names = ("f", "h", *(f"t{n}" for n in range(38)))
    grid = Grid(names)
    grid.pass_time(1.0)
    assert len(grid.holders(NEW)) == 4


def test_a_good_version_is_promoted_everywhere_and_the_old_one_leaves():
    grid = Grid()
    grid.pass_time(2.0)
    grid.tell((30, 0), (270, 1))
    grid.pass_time(PLAN.min_s)
    assert grid.phases == ["loading", "watching", "promoted"]
    assert "no worse" in grid.moves[-1].reason
    assert all(held["chat"] == NEW for held in grid.held.values())
    assert grid.track.share == 0.0
    assert grid.track.digest == OLD
    grid.pass_time(SETTLE_S + 1.0)
    assert grid.moves[-1].retired
    assert all(held == {"chat": NEW} for held in grid.held.values())
    assert grid.track is None


def test_a_bad_version_is_rolled_back_and_leaves():
    grid = Grid()
    grid.pass_time(2.0)
    grid.tell((3, 3), (30, 0))
    grid.pass_time(1.0)
    assert grid.phases[-1] == "rolled_back"
    assert "more errors" in grid.moves[-1].reason
    assert grid.track.share == 0.0
    grid.pass_time(SETTLE_S + 1.0)
    assert all(held == {"chat": OLD} for held in grid.held.values())


@pytest.mark.parametrize("verdict", ["promote", "roll_back"])
def test_the_losing_version_stands_while_answers_run_on_it_and_no_longer_than_its_limit(verdict):
    grid = Grid()
    grid.pass_time(2.0)
    loser = OLD if verdict == "promote" else NEW
    grid.running = {("f", loser): 1}
    grid.do(RolloutSteered("chat", verdict))
    grid.pass_time(PLAN.keep_s - 2.0)
    assert grid.held["f"][BESIDE] == loser
    assert grid.moves[-1].reason == "by hand"
    grid.pass_time(4.0)
    assert grid.moves[-1].retired
    assert BESIDE not in grid.held["f"]


def test_counts_of_several_gateways_add_up_and_the_newest_of_each_counts():
    grid = Grid()
    for gateway in ("g1", "g2"):
        grid.tell((1, 1), (2, 0), gateway)
        grid.tell((5, 1), (50, 0), gateway)
    grid.tell((900, 900), (0, 0), rollout="another")
    new, old = grid.grid.rollouts.get("chat").counts()
    assert (new.requests, new.errors, old.requests) == (10, 2, 100)


def test_a_site_without_memory_for_both_does_not_get_it_and_nothing_makes_room_for_it():
    grid = Grid(("f",), plan=PLAN)
    grid.do(RolloutSteered("chat", "roll_back"))
    grid.pass_time(SETTLE_S + 1.0)
    grid.do(RolloutStarted("chat", "r2", "sha256:3", 1000, plan=PLAN))
    grid.pass_time(PLAN.limit_s + 1.0)
    assert grid.held["f"] == {"chat": OLD}
    assert "no site has the memory" in grid.moves[-1].reason
    assert grid.phases[-1] == "rolled_back"


def test_a_version_that_fails_to_load_is_rolled_back():
    grid = Grid(("f",))
    for _ in range(40):
        grid.now_s += 0.5
        failed = ReplicaReport(BESIDE, "", NEW, "failed", "bad bytes")
        grid.do(Heartbeat("f", replicas=(grids.ready(), failed)))
        grid.do(Tick())
    assert "rolled_back" in grid.phases
    assert any("failed to load" in move.reason for move in grid.moves)


def test_a_version_whose_sites_keep_dying_is_rolled_back():
    grid = Grid(("f",))
    for _ in range(3):
        grid.pass_time(1.0)
        grid.held["f"] = {}
        grid.do(SiteJoined(grids.site("f")))
    grid.pass_time(1.0)
    assert grid.phases[-1] == "rolled_back"
    assert "started anew 3 times" in grid.moves[-1].reason


def test_a_worse_card_is_never_loaded_for_long():
    grid = Grid(new_card=3.0, old_card=2.0)
    grid.do(Tick())
    assert "card is worse" in grid.moves[-1].reason


def test_another_deployment_or_none_ends_the_rollout():
    for event in (ServiceDeployed("chat", "sha256:3", 100), ServiceUndeployed("chat")):
        grid = Grid()
        grid.pass_time(1.0)
        grid.do(event)
        grid.pass_time(1.0)
        assert grid.moves[-1].retired
        assert not grid.holders(NEW)


def test_what_is_not_deployed_or_deployed_already_is_not_tried():
    grid = grids.grid()
    for service, digest in (("other", NEW), ("chat", OLD)):
        (moved,) = grids.of_kind(
            grid.handle(2.0, RolloutStarted(service, "r", digest, 100)), RolloutMoved
        )
        assert moved.phase == "rolled_back"
        assert moved.retired


def test_a_drained_site_gives_the_new_version_to_another():
    grid = Grid(("f", "h", "t1"))
    grid.pass_time(2.0)
    gone = min(grid.holders(NEW))
    grid.do(SiteHeld(gone, "draining"))
    grid.pass_time(2.0)
    assert grid.held[gone] == {}
    assert len(grid.holders(NEW)) == 2


def test_a_restored_orchestrator_goes_on_with_its_rollouts():
    grid = Grid()
    grid.pass_time(2.0)
    grid.tell((3, 3), (30, 0))
    saved = json.loads(json.dumps(snapshot.take(grid.grid)))
    again = snapshot.restore(grid.grid.policy, saved, "test")
    assert snapshot.take(again) == snapshot.take(grid.grid)
    first = [recording.written(c) for c in grid.grid.handle(grid.now_s, Tick())]
    assert [recording.written(c) for c in again.handle(grid.now_s, Tick())] == first
    assert again.rollouts.get("chat").phase == "rolled_back"


def test_a_rollout_that_goes_on_after_a_restart_keeps_its_age():
    grid = Grid(age_s=PLAN.limit_s + 1.0)
    grid.pass_time(1.0)
    assert "not to be judged" in grid.moves[-1].reason
