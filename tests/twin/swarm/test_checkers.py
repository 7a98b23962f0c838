"""Each rule is broken on purpose, by a sabotage of the grid, to see its checker bite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aigrid.control import admit, guard, place, route
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.core.events import StartReplica, StopReplica
from aigrid.core.site import Cell, Site
from aigrid.radio.profile import ConstantLoad
from aigrid.radio.topology import PlannedSite
from aigrid.twin.gateway import SimulatedGateway
from aigrid.twin.jobs import JobLine
from aigrid.twin.scenario import Scenario
from aigrid.twin.site import SimulatedSite
from aigrid.twin.swarm import ends
from aigrid.twin.swarm.run import run_trial
from aigrid.twin.swarm.trial import Trial

HEALED_S = 16.0
Patch = pytest.MonkeyPatch


def trial(*faults: dict[str, Any], **changes: Any) -> Trial:
    """A hub and two towers, one of them abroad; `chat` may run at home only."""
    cell = Cell("c", resource_blocks=104, antennas=3)
    calm = ConstantLoad(load=0.1)
    towers = (("home", "r0"), ("abroad", "r1"))
    sites = (
        PlannedSite(Site("hub", "hub", "r0", compute_cores=2.0)),
        *(
            PlannedSite(Site(name, "tower", region, parent="hub", cells=(cell,)), calm)
            for name, region in towers
        ),
    )
    raw: dict[str, Any] = {
        "name": "sabotaged",
        "sites": sites,
        "duration_s": 45.0,
        "physics": {"give_up_s": 8.0, "answer_s": 5.0, "timeout_s": 0.2, "queue_limit": 4},
        "packages": [
            {"name": "chat", "version": "1", "regions": ["r0"]},
            {"name": "chat", "version": "2", "regions": ["r0"]},
        ],
        "deployments": [{"deploy": "chat:1"}, {"deploy": "chat:2", "at_s": 12.0}],
        "demand": [
            {"service": "chat", "origin": name, "requests_per_s": 3.0, "from_s": 3.0}
            for name in ("home", "abroad")
        ],
        "faults": faults,
    }
    policy = Policy(retry_max_s=5.0, place_period_s=5.0, candidates=4)
    return Trial(1, Scenario.model_validate(raw | changes), policy, HEALED_S)


CRASH = {"kind": "crash", "site": "home", "at_s": 8.0, "back_after_s": 4.0}
SURGE = {"kind": "surge", "site": "home", "at_s": 8.0, "for_s": 6.0, "load": 1.0}
DAMAGE = {"kind": "corrupt", "package": "chat:2", "at_s": 10.0, "for_s": 6.0}
BURST = {"kind": "burst", "service": "chat", "origin": "home", "at_s": 8.0, "for_s": 3.0}
BURST |= {"requests_per_s": 150.0}


def loses_requests(patch: Patch) -> None:
    finish = SimulatedGateway._finish

    def lose(self: SimulatedGateway, attempt: Any) -> None:
        if attempt.request.number == 20:
            self._leave(attempt)
        else:
            finish(self, attempt)

    patch.setattr(SimulatedGateway, "_finish", lose)


def answers_twice(patch: Patch) -> None:
    end = SimulatedGateway._end

    def twice(self: SimulatedGateway, request: Any, status: str, site: str) -> None:
        end(self, request, status, site)
        if request.number == 20:
            end(self, request, status, site)
            # The books still balance, so that only the rule about answers can tell.
            self.paused -= 1

    patch.setattr(SimulatedGateway, "_end", twice)


def never_gives_up(patch: Patch) -> None:
    patch.setattr(SimulatedGateway, "_look", lambda self, attempt: None)
    patch.setattr(SimulatedSite, "_settle_share", lambda self: None)


def loads_without_room(patch: Patch) -> None:
    patch.setattr(SimulatedSite, "used_mb", lambda self: 0)


def works_too_fast(patch: Patch) -> None:
    patch.setattr(JobLine, "_each", lambda self: 5000.0 if self.running else 0.0)


def takes_everybody(patch: Patch) -> None:
    patch.setattr(admit, "admit", lambda *_: "")


def ignores_the_radio(patch: Patch) -> None:
    patch.setattr(SimulatedSite, "used_share", property(lambda self: self.share))


def grants_everything(patch: Patch) -> None:
    patch.setattr(guard, "shares", lambda policy, need, *_: np.ones(len(need)))


def knows_no_borders(patch: Patch) -> None:
    everywhere = place.allowed

    def allowed(state: Any, rows: slice) -> Any:
        return np.ones_like(everywhere(state, rows))

    patch.setattr(place, "allowed", allowed)


def verifies_nothing(patch: Patch) -> None:
    patch.setattr(SimulatedSite, "_sound", lambda self, package: True)


def asks_nobody(patch: Patch) -> None:
    def order(self: SimulatedGateway, request: Any) -> list[str]:
        return []

    patch.setattr(SimulatedGateway, "_order", order)


def routes_to_the_dead(patch: Patch) -> None:
    patch.setattr(Orchestrator, "_moved", lambda self, *, came: None)


def weighs_wrongly(patch: Patch) -> None:
    make = route.table

    def table(*args: Any) -> Any:
        made = make(*args)
        return replace(made, weight=made.weight * np.float32(2.0))

    patch.setattr(route, "table", table)


def never_joins_again(patch: Patch) -> None:
    join = SimulatedSite._join
    patch.setattr(
        SimulatedSite, "_join", lambda self: join(self) if self.incarnation == 1 else None
    )


def gives_up_on_failed_starts(patch: Patch) -> None:
    patch.setattr(Orchestrator, "_note_failure", lambda *_: None)


def shuffles(patch: Patch) -> None:
    handle = Orchestrator.handle

    def shuffled(self: Orchestrator, now_s: float, event: Any) -> Any:
        commands = handle(self, now_s, event)
        if now_s > 36.0 and type(event).__name__ == "Tick":
            digest = self.state.services.digests[0][-1]
            commands += [StopReplica("hub", "chat"), StartReplica("hub", "chat", digest)]
        return commands

    patch.setattr(Orchestrator, "handle", shuffled)


def swings(patch: Patch) -> None:
    make, turn = route.table, [0]

    def table(*args: Any) -> Any:
        made = make(*args)
        turn[0] += 1
        weight = made.weight.copy()
        for line in weight.reshape(-1, weight.shape[-1]):
            used = np.flatnonzero(line > 0.0)
            if len(used) > 1:
                line[used] = 0.02 / (len(used) - 1)
                line[used[turn[0] % len(used)]] = 0.98
        return replace(made, weight=weight)

    patch.setattr(route, "table", table)


def decides_by_chance(patch: Patch) -> None:
    handle, dropped = Orchestrator.handle, [False]

    def other(self: Orchestrator, now_s: float, event: Any) -> Any:
        commands = handle(self, now_s, event)
        if now_s < 20.0 or dropped[0] or not commands:
            return commands
        dropped[0] = True
        return commands[:-1]

    patch.setattr(Orchestrator, "handle", other)


SABOTAGE: tuple[tuple[Callable[[Patch], None], str, tuple[Any, ...], dict[str, Any]], ...] = (
    (loses_requests, "requests_conserved", (), {}),
    (answers_twice, "answered_once", (), {}),
    (never_gives_up, "nothing_hangs", (SURGE,), {}),
    (loads_without_room, "memory_held", (), {"tight": True}),
    (works_too_fast, "compute_held", (), {}),
    (takes_everybody, "compute_held", (BURST,), {}),
    (ignores_the_radio, "radio_first", (SURGE,), {}),
    (grants_everything, "radio_first", (), {}),
    (knows_no_borders, "regions_kept", (), {}),
    (verifies_nothing, "nothing_corrupt_serves", (DAMAGE,), {}),
    (asks_nobody, "refused_for_cause", (), {}),
    (routes_to_the_dead, "routes_are_true", (CRASH,), {}),
    (weighs_wrongly, "routes_are_true", (), {}),
    (never_joins_again, "recovers", (CRASH,), {}),
    (gives_up_on_failed_starts, "recovers", (DAMAGE,), {}),
    (shuffles, "calm_stands_still", (), {}),
    (swings, "calm_stands_still", (), {}),
    (decides_by_chance, "replays", (), {}),
)


def tightened(one: Trial) -> Trial:
    """Sites that hold one replica, and not two."""
    sites = tuple(
        replace(planned, site=replace(planned.site, memory_mb=400))
        for planned in one.scenario.sites
    )
    return replace(one, scenario=one.scenario.model_copy(update={"sites": sites}))


@pytest.mark.parametrize(
    ("sabotage", "rule", "faults", "how"), SABOTAGE, ids=[row[0].__name__ for row in SABOTAGE]
)
def test_a_broken_rule_is_seen(
    monkeypatch: Patch,
    sabotage: Callable[[Patch], None],
    rule: str,
    faults: tuple[Any, ...],
    how: dict[str, bool],
) -> None:
    sabotage(monkeypatch)
    one = tightened(trial(*faults)) if how else trial(*faults)
    failure = run_trial(one).failure
    assert failure is not None
    assert failure.rule == rule
    assert failure.expected
    assert failure.seen
    assert failure.command == "aigrid rehearse --swarm 1 --seed 1"


@pytest.mark.parametrize(
    "faults", [(), (DAMAGE,), (CRASH, SURGE, DAMAGE, BURST)], ids=["none", "one", "many"]
)
def test_a_sound_grid_breaks_none(faults: tuple[Any, ...]) -> None:
    outcome = run_trial(trial(*faults))
    assert outcome.failure is None
    assert outcome.served > 150
    assert outcome.requests >= outcome.served + outcome.refused + outcome.broken


def test_a_sound_grid_replaces_a_replica_within_its_memory() -> None:
    assert run_trial(tightened(trial())).failure is None


def test_every_rule_has_a_sabotage() -> None:
    from aigrid.twin.swarm.checkers import RULES

    rules = {check.__name__ for check in (*RULES, *ends.END_RULES)} | {"replays"}
    assert {row[1] for row in SABOTAGE} == rules
