"""Rounds of an engine: what a job waits for is what the embedded engine would make it wait for."""

import pytest

from aigrid.twin.jobs import Job
from aigrid.twin.rounds import Machine, RoundEngine
from aigrid.twin.scenario import EngineRounds
from aigrid.twin.simulation import Simulation

COSTS = EngineRounds(piece_s=0.01, prompt_token_s=0.001, step_s=0.02, sequence_s=0.005)


class Steady:
    """A machine on which everything takes so many times longer."""

    def __init__(self, slower: float = 1.0) -> None:
        self.slower, self.engines = slower, 0.0

    def enter(self, part: float) -> None:
        self.engines += part

    def leave(self, part: float) -> None:
        self.engines -= part

    def lasts_s(self, now_s: float, work_s: float) -> float:
        return work_s * self.slower


class Bench:
    """One engine, and when its jobs ended."""

    def __init__(
        self,
        share: float = 1.0,
        places: int = 8,
        machine: Machine | None = None,
        gap_s: float = 0.0,
    ) -> None:
        self.simulation = Simulation()
        costs = COSTS.model_copy(update={"gap_s": gap_s})
        self.engine = RoundEngine(self.simulation, costs, places, machine)
        self.engine.set_share(share)
        self.ended: dict[str, float] = {}

    def ask(self, name: str, prompt: int, tokens: int, at_s: float = 0.0) -> Job:
        job = Job("chat", prompt, prompt + tokens, lambda: self._end(name), 0.0, prompt, tokens)
        self.simulation.after(at_s - self.simulation.now_s, lambda: self.engine.add(job))
        return job

    def _end(self, name: str) -> None:
        self.ended[name] = self.simulation.now_s

    def run(self, until_s: float = 1e3) -> None:
        while self.simulation.step(until_s):
            pass


def test_a_job_alone_takes_its_prompt_and_its_steps() -> None:
    bench = Bench()
    job = bench.ask("a", prompt=30, tokens=11)
    bench.run()
    assert job.first_s == pytest.approx(0.04)
    assert bench.ended["a"] == pytest.approx(0.04 + 10 * 0.025)
    assert bench.engine.fill_s == pytest.approx(0.04)
    assert bench.engine.decode_s == pytest.approx(0.25)


def test_a_long_prompt_comes_in_pieces_between_the_steps_of_others() -> None:
    bench = Bench()
    bench.ask("a", prompt=10, tokens=100)
    long = bench.ask("b", prompt=100, tokens=2, at_s=0.021)
    bench.run()
    # Round 1 (10 tokens, a step) ends at 0.045; two pieces of b follow, a step of a in between.
    assert long.first_s == pytest.approx(0.045 + 0.074 + 0.025 + 0.046)


def test_streams_share_a_step_that_grows_with_their_number() -> None:
    bench = Bench()
    bench.ask("a", prompt=10, tokens=101)
    bench.ask("b", prompt=10, tokens=101)
    bench.run()
    # The engine is quick: a's first round is over before b's prompt is fed.
    assert bench.ended["a"] == pytest.approx(0.045 + 0.02 + 99 * 0.03)
    assert bench.ended["b"] == pytest.approx(bench.ended["a"] + 0.025)


def test_who_finds_no_place_waits_for_one() -> None:
    bench = Bench(places=1)
    bench.ask("a", prompt=10, tokens=11)
    later = bench.ask("b", prompt=10, tokens=1)
    bench.run()
    assert later.first_s == pytest.approx(bench.ended["a"] + 0.02)
    assert bench.ended["b"] == pytest.approx(later.first_s)


def test_a_share_stretches_time_but_not_work() -> None:
    whole, half = Bench(), Bench(share=0.5)
    for bench in (whole, half):
        bench.ask("a", prompt=10, tokens=101)
        bench.run()
    assert half.ended["a"] == pytest.approx(2 * whole.ended["a"], rel=0.02)
    assert half.engine.decode_s == pytest.approx(whole.engine.decode_s)


def test_no_share_stops_after_the_round_in_hand_and_a_share_goes_on() -> None:
    bench = Bench()
    bench.ask("a", prompt=10, tokens=101)
    bench.simulation.after(1.0, lambda: bench.engine.set_share(0.0))
    bench.run(until_s=5.0)
    assert not bench.ended
    assert bench.engine.decode_s == pytest.approx(1.0, abs=0.03)
    bench.engine.set_share(1.0)
    bench.run()
    assert bench.engine.decode_s == pytest.approx(2.5)
    assert bench.ended["a"] == pytest.approx(5.0 + 2.52 - 1.0, abs=0.03)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_many_rounds_at_once_are_the_same_rounds_one_by_one(share: float) -> None:
    """On an unsteady machine an engine looks up every few rounds; nothing else differs."""
    ends = []
    for machine in (None, Steady()):
        bench = Bench(share=share, gap_s=0.001, machine=machine)
        for number in range(40):
            tokens = 5 + (number * 37) % 90
            prompt = 3 + number * 3
            bench.ask(str(number), prompt=prompt, tokens=tokens, at_s=0.31 * number)
        bench.run()
        ends.append(bench.ended)
    assert len(ends[0]) == 40
    assert ends[0] == pytest.approx(ends[1])


def test_a_slow_machine_makes_rounds_longer() -> None:
    machine = Steady(slower=2.0)
    bench = Bench(machine=machine)
    bench.ask("a", prompt=30, tokens=11)
    bench.run()
    assert bench.ended["a"] == pytest.approx(2 * (0.04 + 10 * 0.025))
    assert machine.engines == 0.0


def test_an_engine_that_dies_at_work_leaves_its_machine() -> None:
    machine = Steady()
    bench = Bench(share=0.5, machine=machine)
    bench.ask("a", prompt=10, tokens=50)
    bench.run(until_s=0.5)
    assert machine.engines == 0.5
    bench.engine.clear()
    assert machine.engines == 0.0


def test_a_dead_engine_forgets_and_can_begin_anew() -> None:
    bench = Bench()
    bench.ask("a", prompt=10, tokens=50)
    bench.run(until_s=0.5)
    bench.engine.clear()
    bench.ask("b", prompt=10, tokens=1, at_s=1.0)
    bench.run()
    assert list(bench.ended) == ["b"]
    assert bench.ended["b"] == pytest.approx(1.02)
