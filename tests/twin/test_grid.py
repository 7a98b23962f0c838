import pytest
from tests.twin.cities import city

from aigrid.core.errors import NotFoundError
from aigrid.twin.grid import TwinGrid, run
from aigrid.twin.scenario import Crash, Demand, Silence

BUSY = {"demand": [{"service": "chat", "requests_per_s": 15.0, "from_s": 5.0}]}
FAULTS = {
    "faults": [
        {"kind": "crash", "site": "hub", "at_s": 10.0, "back_after_s": 4.0},
        {"kind": "surge", "site": "t1", "at_s": 12.0, "load": 1.0, "for_s": 5.0},
        {"kind": "silence", "site": "t2", "at_s": 20.0, "for_s": 6.0},
    ]
}


def test_a_run_is_named_by_scenario_and_seed():
    first = run(city(duration_s=20.0, **BUSY, **FAULTS), seed=3)
    again = run(city(duration_s=20.0, **BUSY, **FAULTS), seed=3)
    other = run(city(duration_s=20.0, **BUSY, **FAULTS), seed=4)
    assert first == again
    assert first.trace_sha256 != other.trace_sha256


def test_looking_more_often_changes_nothing():
    whole, pieces = (TwinGrid(city(**BUSY, **FAULTS), seed=3) for _ in range(2))
    whole.advance(15.0)
    for step in range(1, 61):
        pieces.advance(step * 0.25 - pieces.now_s)
    assert pieces.trace_sha256() == whole.trace_sha256()


def test_every_request_is_answered_whatever_fails():
    grid = TwinGrid(city(**BUSY, **FAULTS), seed=1)
    grid.advance(40.0)
    asked = [request for request in grid.world.requests if request.born_s < 35.0]
    assert len(asked) > 300
    assert {request.status for request in asked} == {"answered"}
    assert any(request.retries for request in asked)


LONG = {"service": "chat", "requests_per_s": 1.0, "tokens": 400}


def answered_under(fault, stream):
    """Long answers at each site, all of them whole; a fault befalls the hub in their middle."""
    grid = TwinGrid(city())
    grid.advance(5.0)
    requests = [grid.world.request(Demand(**LONG, stream=stream)) for _ in range(6)]
    grid.advance(0.5)
    grid.world.inject(fault)
    grid.advance(20.0)
    assert {request.status for request in requests} == {"answered"}
    return requests


@pytest.mark.parametrize("stream", [False, True])
def test_what_breaks_in_the_middle_goes_on_elsewhere_with_its_tokens(stream):
    requests = answered_under(Crash(kind="crash", site="hub", at_s=0.0), stream)
    moved = [request for request in requests if request.resumes]
    assert 0 < len(moved) < 6 and {request.resumes for request in moved} == {1}
    assert all(0 < request.made < 400 and request.site != "hub" for request in moved)
    kept, lost = (max(r.ended_s for r in requests if bool(r.resumes) == gone) for gone in (0, 1))
    assert kept < lost < kept + 2.0  # only the rest was made


@pytest.mark.parametrize(("stream", "status"), [(False, "failed"), (True, "broken")])
def test_what_nobody_goes_on_with_ends_in_time(stream, status):
    grid = TwinGrid(city())
    grid.advance(5.0)
    request = grid.world.request(Demand(**LONG, stream=stream))
    grid.advance(0.5)
    for site in ("hub", "t1", "t2"):
        grid.world.inject(Crash(kind="crash", site=site, at_s=0.0))
    broke_s = grid.now_s
    grid.advance(40.0)
    assert request.status == status
    assert broke_s + 29.0 < request.ended_s < broke_s + 31.0


def silence(for_s):
    """The hub is out of reach for a while."""
    fault = Silence(kind="silence", site="hub", at_s=0.0, for_s=for_s)
    return answered_under(fault, stream=True)


def test_a_site_that_falls_silent_is_left_with_the_tokens_that_came_before():
    moved = [request for request in silence(for_s=15.0) if request.resumes]
    assert moved and all(0 < request.made < 300 and request.site != "hub" for request in moved)


def test_a_short_silence_moves_nothing():
    assert not any(request.resumes for request in silence(for_s=0.5))


def test_a_tower_whose_radio_fills_hands_its_answers_over_and_tokens_are_made_once():
    grid = TwinGrid(city())
    grid.advance(5.0)
    tower = grid.world.sites["t1"]
    requests = [grid.world.request(Demand(**LONG, origin="t1", stream=True)) for _ in range(9)]
    grid.advance(0.3)
    there = tower.line.count("chat")
    tower.radio.force(1.0, grid.now_s + 60.0)
    grid.advance(2.0)
    assert sum(there) >= 2 and tower.line.count("chat") == (0, 0)
    grid.advance(20.0)
    assert {request.status for request in requests} == {"answered"}
    moved = [request for request in requests if request.retries]
    assert len(moved) >= 2 and all(request.site != "t1" for request in moved)
    assert any(request.made for request in moved)


def test_a_full_radio_takes_the_tower_out_of_the_routes_and_misses_few_slots():
    grid = TwinGrid(city(**BUSY), seed=2)
    grid.advance(10.0)
    tower = grid.world.sites["t1"]
    assert tower.share > 0.5
    tower.radio.force(1.0, grid.now_s + 10.0)
    grid.advance(2.0)
    assert tower.share == 0.0
    assert "t1" not in dict(grid.orchestrator.routes.candidates("*", "chat"))
    missed = tower.radio.missed
    # Only between the surge and the next heartbeat's answer: a quarter of a second of 1 ms slots.
    assert missed <= 260
    grid.advance(7.0)
    assert tower.radio.missed == missed
    grid.advance(10.0)
    assert tower.share > 0.5
    assert "t1" in dict(grid.orchestrator.routes.candidates("*", "chat"))


def test_work_done_is_bounded_by_the_compute_that_is_left():
    grid = TwinGrid(city(demand=[{"service": "chat", "requests_per_s": 150.0}]), seed=2)
    grid.advance(8.0)
    for site in grid.world.sites.values():
        limit = site.planned.site.compute_cores * grid.world.scenario.physics.tokens_per_core_s
        assert 0.0 < site.line.work_done["chat"] <= limit * 8.0


def test_a_site_that_starts_in_silence_joins_when_it_is_over():
    silence = {"kind": "silence", "site": "t1", "at_s": 5.0, "for_s": 5.0}
    crash = {"kind": "crash", "site": "t1", "at_s": 6.0, "back_after_s": 1.0}
    grid = TwinGrid(city(faults=[silence, crash]))
    grid.advance(9.0)
    assert "t1" not in dict(grid.orchestrator.routes.candidates("*", "chat"))
    grid.advance(6.0)
    assert "t1" in dict(grid.orchestrator.routes.candidates("*", "chat"))


def test_what_is_not_there_is_named():
    grid = TwinGrid(city())
    with pytest.raises(NotFoundError, match="chat:9"):
        grid.world.deploy("chat:9")
    with pytest.raises(NotFoundError, match="mars"):
        grid.world.inject(Crash(kind="crash", site="mars", at_s=0.0))
