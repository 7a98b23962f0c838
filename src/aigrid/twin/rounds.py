"""An engine that works in rounds, as the embedded one does: prompts first, then one token for all.

A round feeds pieces of prompts, `PIECE_TOKENS` at most together, and then takes one decode step for
every sequence (`engines/embedded.py`). The step takes a fixed time and a time for each sequence;
after a round of d seconds the worker rests d * (1 / share - 1). Rounds that only decode are taken
many at once, up to the next end or arrival, so that a second costs few events.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from aigrid.twin.jobs import Job
from aigrid.twin.scenario import EngineRounds
from aigrid.twin.simulation import Simulation

PIECE_TOKENS = 64
# How many rounds pass before an engine looks again how fast its machine is.
UNSTEADY_ROUNDS = 16


@dataclass(slots=True, eq=False)
class _Taken:
    """A job on its place: prompt tokens still to feed, tokens still to make."""

    job: Job
    prompt: float
    tokens: int


@dataclass(slots=True)
class RoundCounts:
    """What an engine did so far, as `core.run_record.EngineRow` counts it."""

    rounds: int = 0
    pieces: int = 0
    prompt_tokens: int = 0
    steps: int = 0
    sequences: int = 0


@dataclass(slots=True)
class _Span:
    """Equal rounds in a row: work of each, rest after each, sequences in each step.

    `part` of the time is work.
    """

    began_s: float
    count: int
    fill_s: float
    step_s: float
    rest_s: float
    sequences: int
    part: float

    @property
    def work_s(self) -> float:
        return self.fill_s + self.step_s

    @property
    def round_s(self) -> float:
        return self.work_s + self.rest_s

    def ended_s(self) -> float:
        """When the last round's work ends."""
        return self.began_s + (self.count - 1) * self.round_s + self.work_s


class Machine(Protocol):
    """What engines run on, and share."""

    def enter(self, part: float) -> None:
        """An engine begins to work, this part of the time."""

    def leave(self, part: float) -> None:
        """It ends."""

    def lasts_s(self, now_s: float, work_s: float) -> float:
        """How long work takes that begins now, for an engine that has entered."""


class RoundEngine:
    """The engine of one service at one site.

    Args:
        simulation: the clock.
        costs: of rounds.
        places: sequences at once.
        machine: that it runs on; None for one of its own that is steady.

    Attributes:
        fill_s: worked on prompts so far.
        decode_s: worked on steps so far.
        cpu_s: processor time of both, that of rounds in hand included.
        counts: of what it did so far.
    """

    def __init__(
        self,
        simulation: Simulation,
        costs: EngineRounds,
        places: int,
        machine: Machine | None = None,
    ) -> None:
        self._simulation, self._costs, self._places = simulation, costs, places
        self._machine = machine
        self.share = 0.0
        self.waiting: deque[Job] = deque()
        self.fill_s = self.decode_s = self.cpu_s = 0.0
        self.tokens_made = self.jobs_done = 0
        self.counts = RoundCounts()
        self._filling: _Taken | None = None
        self._decoding: list[_Taken] = []
        self._span: _Span | None = None
        self._resting = False
        self._plan = 0

    @property
    def running(self) -> list[Job]:
        """Jobs on a place."""
        taken = self._decoding + ([self._filling] if self._filling else [])
        return [one.job for one in taken]

    @property
    def works(self) -> bool:
        """Whether a round is in hand."""
        return self._span is not None

    def add(self, job: Job) -> None:
        """Take a job in, at the end of the line."""
        self.waiting.append(job)
        self._interrupt()

    def set_share(self, share: float) -> None:
        """Rest so that this part of the time is work; 0 stops after the round in hand."""
        if share != self.share:
            self.share = share
            self._interrupt()

    def cancel(self, job: Job) -> None:
        """Forget one job; the round in hand is done as it was begun."""
        self.waiting = deque(one for one in self.waiting if one is not job)
        self._decoding = [one for one in self._decoding if one.job is not job]
        if self._filling is not None and self._filling.job is job:
            self._filling = None

    def clear(self) -> None:
        """Forget every job."""
        self.waiting, self._filling, self._decoding = deque(), None, []
        self._leave()
        self._span, self._resting = None, False
        self._plan += 1

    def _interrupt(self) -> None:
        """Something changed: the round in hand is the last of its span."""
        span, now_s = self._span, self._simulation.now_s
        if span is None:
            if not self._resting:
                self._begin()
            return
        done = int((now_s - span.began_s) / span.round_s) + 1
        if done < span.count:
            span.count = done
            self._plan_end()

    def _begin(self) -> None:
        """Start a round, or many equal ones; nothing happens without work or share.

        Who needs one token only is done after its prompt, and takes no step.
        """
        self._resting = False
        if self.share <= 0.0:
            return
        if not (self._decoding or self._filling or self.waiting):
            return
        part = self.share
        if self._machine is not None:
            self._machine.enter(part)
        fill_s = self._fill()
        count = sum(one.tokens > 0 for one in self._decoding)
        step_s = self._costs.step_s + count * self._costs.sequence_s if count else 0.0
        rounds = 1
        if count and not fill_s and self._filling is None:
            rounds = max(1, min(one.tokens for one in self._decoding))
            rounds = min(rounds, UNSTEADY_ROUNDS) if self._machine else rounds
        step_s = self._lasts_s(fill_s, rounds * step_s) / rounds
        rest_s = (fill_s + step_s) * (1.0 / self.share - 1.0) + self._costs.gap_s
        self._span = _Span(self._simulation.now_s, rounds, fill_s, step_s, rest_s, count, part)
        self._plan_end()

    def _lasts_s(self, in_s: float, work_s: float) -> float:
        """How long work takes that begins some time from now."""
        self.cpu_s += work_s
        if self._machine is None:
            return work_s
        return self._machine.lasts_s(self._simulation.now_s + in_s, work_s)

    def _leave(self) -> None:
        if self._machine is not None and self._span is not None:
            self._machine.leave(self._span.part)

    def _fill(self) -> float:
        """Feed prompts of joining jobs; returns how long it takes."""
        budget, took_s = float(PIECE_TOKENS), 0.0
        while (one := self._joining()) is not None:
            piece = min(one.prompt, PIECE_TOKENS)
            budget -= piece
            if budget < 0.0:
                break
            work_s = self._costs.piece_s + piece * self._costs.prompt_token_s
            took_s += self._lasts_s(took_s, work_s)
            one.prompt -= piece
            self.counts.pieces += 1
            self.counts.prompt_tokens += round(piece)
            if one.prompt <= 0.0:
                one.job.first_s = self._simulation.now_s + took_s
                one.tokens -= 1
                self._filling = None
                self._decoding.append(one)
        return took_s

    def _joining(self) -> _Taken | None:
        if self._filling is None and self.waiting and len(self._decoding) < self._places:
            job = self.waiting.popleft()
            prompt = max(1.0, job.prompt_tokens * self._costs.fed_fraction)
            self._filling = _Taken(job, prompt, job.tokens)
        return self._filling

    def _plan_end(self) -> None:
        assert self._span is not None
        self._plan += 1
        plan = self._plan

        def end() -> None:
            if plan == self._plan:
                self._end()

        self._simulation.after(max(0.0, self._span.ended_s() - self._simulation.now_s), end)

    def _end(self) -> None:
        """The span's work is done: let go who has all, rest, and go on."""
        span = self._span
        assert span is not None
        self._leave()
        self._span, self._resting = None, True
        self.fill_s += span.count * span.fill_s
        self.decode_s += span.count * span.step_s
        self.counts.rounds += span.count
        self.counts.steps += span.count if span.sequences else 0
        self.counts.sequences += span.count * span.sequences
        for one in self._decoding:
            made = min(span.count, max(one.tokens, 0))
            one.tokens -= made
            self.tokens_made += made
            one.job.done_work = max(one.job.first_work, one.job.total_work - one.tokens)
        ended = [one for one in self._decoding if one.tokens <= 0]
        self._decoding = [one for one in self._decoding if one.tokens > 0]
        self._rest(span)
        for one in ended:
            self.tokens_made += 1
            self.jobs_done += 1
            one.job.on_end()

    def _rest(self, span: _Span) -> None:
        plan = self._plan

        def go_on() -> None:
            if plan == self._plan:
                self._begin()

        until_s = span.began_s + span.count * span.round_s
        self._simulation.after(max(0.0, until_s - self._simulation.now_s), go_on)


class RoundLine:
    """All engines of a site; what `twin.jobs.JobLine` is where work is only shared.

    Args:
        simulation: the clock.
        costs: of rounds, the same for each service.
        places: sequences of one engine at once.

    Attributes:
        engines: by service.
        machine: that its engines run on; set it before any job comes.
    """

    def __init__(self, simulation: Simulation, costs: EngineRounds, places: int) -> None:
        self._simulation, self._costs, self._places = simulation, costs, places
        self.engines: dict[str, RoundEngine] = {}
        self._share = 0.0
        self.machine: Machine | None = None

    @property
    def running(self) -> list[Job]:
        """Jobs on a place, of all services."""
        return [job for engine in self.engines.values() for job in engine.running]

    @property
    def waiting(self) -> list[Job]:
        """Jobs in line, of all services."""
        return [job for engine in self.engines.values() for job in engine.waiting]

    @property
    def busy_s(self) -> float:
        """Worked so far, summed over services."""
        return sum(engine.fill_s + engine.decode_s for engine in self.engines.values())

    def add(self, job: Job) -> None:
        """Take a job in, at the end of its service's line."""
        self._engine(job.service).add(job)

    def set_share(self, share: float) -> None:
        """Every engine works this part of the time."""
        self._share = share
        for engine in self.engines.values():
            engine.set_share(share)

    def cancel(self, job: Job) -> None:
        """Forget one job: nobody waits for it any more."""
        self._engine(job.service).cancel(job)

    def clear(self) -> None:
        """Forget every job: the process died."""
        for engine in self.engines.values():
            engine.clear()

    def look(self) -> None:
        """Counters are always up to the last round."""

    def count(self, service: str) -> tuple[int, int]:
        """Jobs of a service that run, and that wait."""
        engine = self._engine(service)
        return len(engine.running), len(engine.waiting)

    def done(self, service: str) -> tuple[float, int]:
        """Tokens made and jobs ended of a service so far."""
        engine = self._engine(service)
        return float(engine.tokens_made), engine.jobs_done

    def _engine(self, service: str) -> RoundEngine:
        engine = self.engines.get(service)
        if engine is None:
            engine = RoundEngine(self._simulation, self._costs, self._places, self.machine)
            engine.share = self._share
            self.engines[service] = engine
        return engine
