"""A small swarm passes; a failing one is shrunk, repeats, and says how."""

import json
from collections.abc import Iterator

import pytest

from aigrid.app import swarming
from aigrid.app.swarming import Swarm
from aigrid.cli.swarm_view import swarm_view
from aigrid.factory.progress import SilentProgress
from aigrid.twin.site import SimulatedSite
from aigrid.twin.swarm import run
from aigrid.twin.swarm.draw import draw
from aigrid.twin.swarm.outcome import Outcome, SwarmResult
from aigrid.twin.swarm.swings import Swings

# Twelve in a row that are small.
FIRST = 310


@pytest.fixture(scope="module")
def small() -> SwarmResult:
    return Swarm(12, FIRST).run(SilentProgress())


def shown(result: SwarmResult) -> str:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(swarm_view(result))
    return capture.get()


def test_a_small_swarm_keeps_every_rule(small: SwarmResult) -> None:
    assert [outcome.seed for outcome in small.outcomes] == list(range(FIRST, FIRST + 12))
    assert small.failures == ()
    assert small.total("served") > 100
    text = shown(small)
    assert "kept  every rule, in 12 grids." in text
    assert "slowest recovery" in text


def test_json_balances(small: SwarmResult) -> None:
    told = json.loads(json.dumps(small.to_dict()))
    ended = sum(told[name] for name in ("served", "refused", "broken", "in_flight"))
    assert told["requests"] == ended
    assert told["scenarios"] == told["passed"] == 12
    assert sum(told["faults"].values()) > 12
    assert told["failures"] == []


def test_a_seed_repeats_byte_by_byte(small: SwarmResult) -> None:
    again = run.attempt(FIRST + 3)
    assert again == small.outcomes[3]


def test_a_failing_grid_is_shrunk_to_the_faults_that_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join = SimulatedSite._join

    def once(self: SimulatedSite) -> None:
        if self.incarnation == 1:
            join(self)

    monkeypatch.setattr(SimulatedSite, "_join", once)
    seed = next(s for s in range(100) if _crashes_among_others(s))
    failure = run.attempt(seed).failure
    assert failure is not None
    assert failure.rule == "recovers"
    assert failure.faults_of > len(failure.faults) == 1
    assert failure.faults[0]["kind"] == "crash"
    assert failure.command == f"aigrid rehearse --swarm 1 --seed {seed}"
    result = SwarmResult(seed, 1, (run.attempt(seed),), 1.0, 1)
    text = shown(result)
    assert failure.command in text
    assert "fault     crash: site" in text


def _crashes_among_others(seed: int) -> bool:
    scenario = draw(seed).scenario
    back = [f for f in scenario.faults if f.kind == "crash" and f.back_after_s is not None]
    return len(back) == 1 and 2 <= len(scenario.faults) <= 3 and len(scenario.sites) < 6


def test_an_interrupted_swarm_tells_what_was_done(
    monkeypatch: pytest.MonkeyPatch, small: SwarmResult
) -> None:
    done = {outcome.seed: outcome for outcome in small.outcomes}

    def stop(seed: int) -> Outcome:
        if seed == FIRST + 2:
            raise KeyboardInterrupt
        return done[seed]

    monkeypatch.setattr(run, "attempt", stop)
    swarm = Swarm(12, FIRST)
    found = swarm.run(SilentProgress())
    assert swarm.interrupted
    assert [outcome.seed for outcome in found.outcomes] == [FIRST, FIRST + 1]
    assert "stopped after 2 of 12" in shown(found)


def test_processes_find_the_same(monkeypatch: pytest.MonkeyPatch, small: SwarmResult) -> None:
    # Out of order, as processes end; the real ones are as slow to start as a swarm is to run.
    def out_of_order(seeds: range, workers: int) -> Iterator[Outcome]:
        done: dict[int, Outcome] = {outcome.seed: outcome for outcome in small.outcomes}
        return iter([done[seed] for seed in reversed(seeds)])

    monkeypatch.setattr(swarming, "_in_processes", out_of_order)
    found = Swarm(12, FIRST, workers=2).run(SilentProgress())
    assert found.trace_sha256() == small.trace_sha256()


def test_swings_are_counted_both_ways_and_drifts_are_not() -> None:
    import numpy as np

    def turns(values: list[float]) -> int:
        swings = Swings()
        for value in values:
            swings.see(np.array([value], np.float32))
        return int(swings.turns[0])

    assert turns([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]) == 0
    assert turns([0.0, 1.0, 0.0, 1.0]) == 2
    assert turns([0.5, 0.6, 0.5, 0.6]) == 0
    assert turns([0.0, 0.5, 0.9, 0.5]) == 1
