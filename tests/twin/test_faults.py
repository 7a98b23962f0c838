"""Faults of the twin: what goes wrong, and what does not."""

from typing import Any

import pytest
from tests.twin.cities import city

from aigrid.core.errors import ConfigurationError
from aigrid.twin.grid import TwinGrid
from aigrid.twin.scenario import Demand

BUSY = {"demand": [{"service": "chat", "requests_per_s": 15.0, "from_s": 5.0}]}


def grid_with(*faults: dict[str, Any], **changes: Any) -> TwinGrid:
    return TwinGrid(city(faults=list(faults), **changes), seed=1)


def status(grid: TwinGrid) -> dict[str, int]:
    state = grid.orchestrator.state
    return {name: int(state.sites.status[row]) for name, row in state.site_row.items()}


def test_a_hub_that_is_cut_off_takes_all_below_it_along_and_comes_back() -> None:
    grid = grid_with({"kind": "cut_off", "site": "hub", "at_s": 8.0, "for_s": 6.0}, **BUSY)
    grid.advance(12.0)
    assert set(status(grid).values()) == {2}
    assert grid.orchestrator.routes.candidates("*", "chat") == []
    grid.advance(5.0)
    assert set(status(grid).values()) == {1}
    grid.advance(10.0)
    asked = [request for request in grid.world.requests if request.born_s < grid.now_s - 5.0]
    assert {request.status for request in asked} == {"answered"}


def test_silences_that_overlap_end_with_the_last() -> None:
    grid = grid_with(
        {"kind": "silence", "site": "t1", "at_s": 5.0, "for_s": 10.0},
        {"kind": "silence", "site": "t1", "at_s": 7.0, "for_s": 2.0},
    )
    grid.advance(12.0)
    assert not grid.world.sites["t1"].reachable
    grid.advance(4.0)
    assert grid.world.sites["t1"].reachable


def test_a_site_whose_heartbeats_are_lost_leaves_the_routes_but_answers_what_it_has() -> None:
    grid = grid_with({"kind": "beat_loss", "site": "t1", "at_s": 10.0, "for_s": 8.0}, **BUSY)
    grid.advance(9.9)
    assert "t1" in dict(grid.orchestrator.routes.candidates("*", "chat"))
    grid.advance(4.0)
    assert "t1" not in dict(grid.orchestrator.routes.candidates("*", "chat"))
    assert grid.world.sites["t1"].takes("chat")
    grid.advance(8.0)
    assert "t1" in dict(grid.orchestrator.routes.candidates("*", "chat"))


def test_late_and_doubled_heartbeats_do_no_harm() -> None:
    loss = {"kind": "beat_loss", "site": "t1", "at_s": 1.0, "for_s": 20.0}
    grid = grid_with(loss | {"lost": 0.3, "doubled": 0.5, "delay_s": 1.0}, **BUSY)
    grid.advance(30.0)
    asked = [request for request in grid.world.requests if request.born_s < 25.0]
    assert {request.status for request in asked} == {"answered"}
    assert status(grid)["t1"] == 1


def test_a_skewed_clock_changes_how_often_a_site_beats() -> None:
    grid = grid_with({"kind": "skew", "site": "t1", "at_s": 0.0, "for_s": 20.0, "rate": 4.0})
    beats: dict[str, int] = {}
    post = grid.world.beat

    def count(beat: Any, incarnation: int) -> None:
        beats[beat.site] = beats.get(beat.site, 0) + 1
        post(beat, incarnation)

    for site in grid.world.sites.values():
        site._plane.beat = count  # type: ignore[method-assign]
    grid.advance(10.0)
    assert beats["t1"] == pytest.approx(4 * beats["t2"], rel=0.1)


def test_a_slow_site_takes_ten_times_as_long() -> None:
    took = []
    for factor in (1.0, 10.0):
        grid = grid_with(
            {"kind": "slow", "site": "hub", "at_s": 4.0, "for_s": 60.0} | {"factor": factor}
        )
        grid.advance(5.0)
        kind = Demand(service="chat", requests_per_s=1.0, origin="hub")
        requests = [grid.world.request(kind) for _ in range(12)]
        grid.advance(30.0)
        took.append(max(r.ended_s - r.born_s for r in requests if r.site == "hub"))
    assert took[1] == pytest.approx(10.0 * took[0], rel=0.1)


def test_who_pulls_while_a_package_is_damaged_serves_it_later() -> None:
    damage = {"kind": "corrupt", "package": "chat:1", "at_s": 0.0, "for_s": 8.0}
    grid = grid_with(damage)
    grid.advance(7.0)
    held = [site.held["chat"] for site in grid.world.sites.values()]
    assert all(one.state == "failed" and not one.digest for one in held)
    grid.advance(20.0)
    assert all(site.takes("chat") for site in grid.world.sites.values())


def test_a_burst_comes_beside_the_demand_and_moves_no_other_chance() -> None:
    burst = {"kind": "burst", "service": "chat", "at_s": 8.0, "for_s": 4.0, "requests_per_s": 30.0}
    calm, busy = grid_with(**BUSY), grid_with(burst, **BUSY)
    calm.advance(20.0)
    busy.advance(20.0)
    born = {request.born_s for request in busy.world.requests}
    assert {request.born_s for request in calm.world.requests} <= born
    assert len(busy.world.requests) - len(calm.world.requests) == pytest.approx(120, rel=0.4)


def test_the_radio_gets_what_it_needs_though_nobody_tells_the_site() -> None:
    grid = grid_with(
        {"kind": "silence", "site": "t1", "at_s": 8.0, "for_s": 20.0},
        {"kind": "surge", "site": "t1", "at_s": 10.0, "load": 1.0, "for_s": 10.0},
        **BUSY,
    )
    grid.advance(12.0)
    tower = grid.world.sites["t1"]
    assert tower.share > 0.5
    assert tower.used_share < 0.02


def test_a_site_that_takes_too_long_loses_the_request_to_another() -> None:
    slow = {"kind": "slow", "site": "hub", "at_s": 4.0, "for_s": 60.0, "factor": 1000.0}
    grid = grid_with(slow, physics={"answer_s": 3.0})
    grid.advance(5.0)
    kind = Demand(service="chat", requests_per_s=1.0)
    requests = [grid.world.request(kind) for _ in range(12)]
    grid.advance(10.0)
    assert {request.status for request in requests} == {"answered"}
    assert any(request.retries for request in requests)
    assert {request.site for request in requests} == {"t1", "t2"}
    assert grid.world.sites["hub"].line.count("chat") == (0, 0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mars"):
        city(faults=[{"kind": "cut_off", "site": "mars", "at_s": 0.0, "for_s": 1.0}])
    with pytest.raises(ConfigurationError, match="mars"):
        city(
            faults=[
                {"kind": "burst", "service": "chat", "origin": "mars", "at_s": 0.0, "for_s": 1.0}
                | {"requests_per_s": 1.0}
            ]
        )
