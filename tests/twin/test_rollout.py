"""A canary is rehearsed: the orchestrator that decides is the one of the live grid."""

from __future__ import annotations

from typing import Any

import pytest
from tests.twin.cities import CHAT, city

from aigrid.core.errors import ConfigurationError
from aigrid.twin.gateway import ANSWERED
from aigrid.twin.grid import TwinGrid
from aigrid.twin.replay import replay_lines
from aigrid.twin.scenario import Crash, Demand

PLAN = {"share": 0.2, "min_requests": 30, "min_s": 5.0, "limit_s": 60.0, "keep_s": 30.0}
SITES = [{"name": f"hub-{n}", "kind": "hub", "region": "r", "compute_cores": 4.0} for n in range(4)]
DEMAND = [{"service": "chat", "requests_per_s": 25.0, "from_s": 3.0, "tokens": 16}]


def rehearsed(seed: int = 1, plan: dict[str, Any] | None = None, **new: Any) -> TwinGrid:
    """Four hubs under load; at 6 s version 2, which is as `new` says, goes on trial."""
    lines: list[str] = []
    scenario = city(
        sites=SITES,
        packages=[CHAT | {"card": 2.0}, CHAT | {"version": "2", "card": 2.0} | new],
        deployments=[
            {"deploy": "chat:1"},
            {"at_s": 6.0, "deploy": "chat:2", "canary": PLAN | (plan or {})},
        ],
        demand=DEMAND,
    )
    grid = TwinGrid(scenario, seed, write=lines.append)
    grid.lines = lines  # type: ignore[attr-defined]
    return grid


def versions_held(grid: TwinGrid) -> set[str]:
    world = grid.world
    held = [one.digest for site in world.sites.values() for one in site.held.values()]
    return {world.package_of(digest).version for digest in held if digest}


def phases(grid: TwinGrid) -> list[str]:
    return [moved.phase for moved in grid.world.rollouts]


def ended(grid: TwinGrid) -> str:
    return next(m.reason for m in grid.world.rollouts if m.phase in ("promoted", "rolled_back"))


def lost(grid: TwinGrid) -> list[Any]:
    asked = [request for request in grid.world.requests if request.born_s < grid.now_s - 5.0]
    assert len(asked) > 500
    return [request for request in asked if request.status != ANSWERED]


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ({"fails": 1.0}, "more errors"),
        ({"fails": 0.3}, "more errors"),
        ({"slowness": 4.0}, "later first tokens"),
        ({"card": 2.5}, "card is worse"),
        ({"corrupt": True}, "failed to load"),
        ({"memory_mb": 4000}, "memory for both"),
    ],
)
def test_a_bad_version_is_rolled_back_and_no_request_is_lost(new: dict[str, Any], why: str) -> None:
    grid = rehearsed(**new)
    grid.advance(80.0)
    assert phases(grid)[-2:] == ["rolled_back", "rolled_back"]
    assert why in ended(grid)
    assert lost(grid) == []
    assert versions_held(grid) == {"1"}


def test_a_good_version_is_promoted_and_no_request_is_lost() -> None:
    grid = rehearsed()
    grid.advance(60.0)
    assert phases(grid) == ["loading", "watching", "promoted", "promoted"]
    assert lost(grid) == []
    assert versions_held(grid) == {"2"}
    late = [r for r in grid.world.ended if r.born_s > grid.now_s - 10.0]
    assert {grid.world.package_of(request.digest).version for request in late} == {"2"}


def test_a_share_of_the_requests_goes_to_the_new_version_while_it_is_watched() -> None:
    grid = rehearsed(plan={"min_s": 50.0})
    grid.advance(50.0)
    versions = [
        grid.world.package_of(request.digest).version
        for request in grid.world.ended
        if request.trial is not None
    ]
    assert 0.15 < versions.count("2") / len(versions) < 0.25


@pytest.mark.parametrize("seed", range(6))
def test_a_version_as_good_as_the_old_one_is_not_rolled_back(seed: int) -> None:
    grid = rehearsed(seed, fails=0.0)
    grid.advance(40.0)
    assert "promoted" in phases(grid)


def test_too_little_traffic_is_waited_for_until_the_limit() -> None:
    grid = rehearsed(plan={"min_requests": 100_000})
    grid.advance(60.0)
    assert phases(grid)[-1] == "watching"
    grid.advance(20.0)
    assert phases(grid)[-1] == "rolled_back"
    assert "of 100000 requests" in ended(grid)


def test_sites_that_die_for_other_reasons_are_not_held_against_the_version() -> None:
    grid = rehearsed()
    grid.advance(9.0)
    holder = next(name for name, site in grid.world.sites.items() if "chat@beside" in site.held)
    grid.world.inject(Crash(kind="crash", site=holder, at_s=0.0, back_after_s=1.0))
    grid.advance(50.0)
    assert "promoted" in phases(grid)
    assert lost(grid) == []


def test_a_stream_that_runs_when_its_version_loses_ends_on_it() -> None:
    grid = rehearsed()
    grid.advance(10.0)
    long = Demand(service="chat", requests_per_s=1.0, tokens=4000, stream=True)
    requests = [grid.world.request(long) for _ in range(10)]
    grid.advance(0.5)
    begun = [request.digest for request in requests]
    grid.advance(60.0)
    assert "promoted" in phases(grid)
    assert [request.status for request in requests] == [ANSWERED] * 10
    assert [request.digest for request in requests] == begun


def test_a_rehearsal_is_named_by_its_seed_and_its_recording_replays() -> None:
    first, again = rehearsed(seed=4, fails=0.5), rehearsed(seed=4, fails=0.5)
    for grid in (first, again):
        grid.advance(30.0)
    assert first.trace_sha256() == again.trace_sha256()
    assert "rolled_back" in phases(first)
    replayed = replay_lines(first.lines, "rehearsal")  # type: ignore[attr-defined]
    assert replayed.identical, replayed.first_difference


def test_a_plan_with_an_unknown_dial_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unheard"):
        rehearsed(plan={"unheard": 1.0})
