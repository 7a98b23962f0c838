"""Each rule is broken once on purpose, and its checker bites and says where."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.twin.fluid import small
from tests.twin.region import one

from aigrid.control import place
from aigrid.control.policy import Policy
from aigrid.twin.fluid import guarded
from aigrid.twin.fluid.checks import RuleBrokenError, Where
from aigrid.twin.fluid.ground import ground_of
from aigrid.twin.policies import plan_of
from aigrid.twin.region import columns, rules
from aigrid.twin.region.columns import World
from aigrid.twin.region.events import advance
from aigrid.twin.region.rehearsal import rehearse

COST = (0.1, 0.0, 0.1, 0.0)
Sabotage = Callable[[World], None]


def told_of(world: World) -> str:
    where = Where("aigrid", 7, ground_of(small.country(), plan_of("aigrid"), Policy()))
    with pytest.raises(RuleBrokenError) as broken:
        rules.raise_broken(where, world)
    return str(broken.value)


def spoilt(sabotage: Sabotage, speed: float = 1.0, until_s: float = 60.0) -> World:
    """Four requests at a site of two places; the sabotage comes when two have begun."""
    world = one.world(COST, places=2, limit=3, rows=4)
    came = one.arrivals_of(np.arange(4) * 1e-3, np.ones(4), np.full(4, 5.0))
    ended, none = np.zeros(4, columns.GONE_BY), np.zeros(0, np.int64)
    advance(world, 0.0, 0.15, np.ones(1), came, none, ended)
    assert world.counts[columns.BROKEN] == 0
    sabotage(world)
    advance(world, 0.15, until_s, np.full(1, speed), came[:0], none, ended)
    return world


def nothing(world: World) -> None:
    """Leave it as it is."""


def test_what_nobody_touches_breaks_no_rule() -> None:
    world = spoilt(nothing)
    assert world.counts[columns.BROKEN] == 0
    assert world.counts[columns.GONE] == 4


def too_many_places(world: World) -> None:
    world.cells["held"] += 2


def too_long_a_line(world: World) -> None:
    world.cells["waiting"] += 2


def forgotten(world: World) -> None:
    world.cells["line_first"] = columns.NONE


def twice_in_line(world: World) -> None:
    world.requests["next"][world.cells["line_last"]] = world.cells["line_first"]


@pytest.mark.parametrize(
    ("sabotage", "rule"),
    [
        (too_many_places, "more sequences than places"),
        (too_long_a_line, "a line longer than its limit"),
        (forgotten, "requests are not conserved"),
    ],
)
def test_a_broken_rule_of_the_engine_is_told(sabotage: Sabotage, rule: str) -> None:
    world = spoilt(sabotage)
    told = told_of(world)
    assert rule in told
    assert "minute 7" in told


def test_who_stands_in_line_twice_is_noticed_before_harm_is_done() -> None:
    assert spoilt(twice_in_line).counts[columns.BROKEN] in (columns.CONSERVED, columns.PLACES)


def test_streams_and_first_tokens_outlive_a_pause() -> None:
    world = one.world(COST, places=4, limit=3, rows=4)
    tokens = np.array([1.0, 1.0, 1.0, 5.0])
    came = one.arrivals_of(np.arange(4) * 1e-3, np.ones(4), tokens)
    ended, none = np.zeros(4, columns.GONE_BY), np.zeros(0, np.int64)
    advance(world, 0.0, 0.45, np.ones(1), came, none, ended)  # all prefills, half a step
    for from_s, until_s, speed in (
        (0.45, 1.0, 0.0),
        (1.0, 1.45, 1.0),
        (1.45, 2.0, 0.0),
        (2.0, 9.0, 1.0),
    ):
        advance(world, from_s, until_s, np.full(1, speed), came[:0], none, ended)
        assert world.counts[columns.BROKEN] == 0
    assert world.counts[columns.GONE] == 4
    assert world.counts[columns.MOVED] > 0
    assert np.isfinite(ended["first_s"]).all()
    assert (ended["first_s"] <= ended["last_s"]).all()


def test_ai_that_works_longer_than_its_share_is_told() -> None:
    assert "AI worked longer than its share" in told_of(spoilt(nothing, 1.5, until_s=0.5))


def test_a_request_outside_its_regions_is_told() -> None:
    world = one.world(COST, places=2, limit=3, rows=1)
    world.stands["allowed"] = 0
    came = one.arrivals_of(np.zeros(1), np.ones(1), np.ones(1))
    advance(world, 0.0, 9.0, np.ones(1), came, np.zeros(0, np.int64), np.zeros(1, columns.GONE_BY))
    assert "a request outside its allowed regions: held" in told_of(world)


def ran(**changes: object) -> None:
    values = {"minutes": 1, "network": small.network(towers=8, hubs=2)} | changes
    rehearse(small.country(**values), ["aigrid"], 0)


def test_more_services_than_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "choose", lambda *given: np.ones_like(given[9]))
    large = [small.service(name, memory_parameters=1.5e10) for name in ("chat", "other")]
    with pytest.raises(RuleBrokenError, match="memory"):
        ran(services=tuple(large))


def test_a_service_outside_its_regions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "choose", lambda *given: np.ones_like(given[9]))
    with pytest.raises(RuleBrokenError, match="outside its regions or kinds: chat"):
        ran(services=(small.service(regions=("JP-13",)), small.vision()))


def test_a_share_that_leaves_the_radio_short_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "set_shares", small.generous(guarded.set_shares))
    with pytest.raises(RuleBrokenError, match="radio short by choice"):
        ran()
