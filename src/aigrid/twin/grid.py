"""A simulated grid with its orchestrator: run a scenario, or step through it by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aigrid.control import recording
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.control.world import Timed, drive
from aigrid.core.events import Command
from aigrid.twin.gateway import ANSWERED
from aigrid.twin.scenario import Scenario
from aigrid.twin.world import TwinWorld

LOOK_S = 0.05
Look = Callable[[Timed, Sequence[Command]], None]


class TwinGrid:
    """An orchestrator that drives a simulated world.

    Args:
        scenario: what there is and what happens.
        seed: of chance.
        policy: the orchestrator's dials.
        write: gets every line of a recording of the run, the head first.
        commit: of the code, for the head.
        look: is called after each event, when its commands are carried out.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        policy: Policy | None = None,
        write: Callable[[str], object] | None = None,
        commit: str = "",
        look: Look | None = None,
    ) -> None:
        self.orchestrator = Orchestrator(policy)
        self.world = TwinWorld(scenario, seed)
        self.events = self.commands = 0
        self._write, self._look = write, look
        self._timed: Timed | None = None
        self._trace = hashlib.sha256()
        self._keep(recording.head(self.orchestrator, commit))

    @property
    def now_s(self) -> float:
        """Simulated time since the start."""
        return self.world.simulation.now_s

    def advance(self, for_s: float) -> None:
        """Let simulated time pass."""
        self.world.until_s = self.now_s + for_s
        drive(self.orchestrator, self, self._record)

    def next_event(self) -> Timed | None:
        """The world's next event."""
        self._timed = self.world.next_event()
        return self._timed

    def carry_out(self, now_s: float, commands: Sequence[Command]) -> None:
        """Let the world act, then look."""
        self.world.carry_out(now_s, commands)
        if self._look is not None and self._timed is not None:
            self._look(self._timed, commands)

    def advance_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until `reached` holds, looking every `LOOK_S`.

        Returns:
            whether it held before `limit_s` was over.
        """
        end_s = self.now_s + limit_s
        while not reached():
            if self.now_s >= end_s:
                return False
            self.advance(LOOK_S)
        return True

    def trace_sha256(self) -> str:
        """Of all events, decisions and answers so far, hex."""
        trace = self._trace.copy()
        for request in self.world.ended:
            trace.update(
                f"{request.number} {request.status} {request.site} {request.ended_s!r}\n".encode()
            )
        return trace.hexdigest()

    def _record(self, timed: Timed, commands: Sequence[Command]) -> None:
        self._keep(recording.line(self.events, timed, commands))
        self.events += 1
        self.commands += len(commands)

    def _keep(self, line: str) -> None:
        self._trace.update(line.encode())
        if self._write is not None:
            self._write(line)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run; (commit, scenario, seed) name it.

    Attributes:
        seed: of chance.
        events: that the orchestrator handled.
        commands: that it decided.
        requests: that ended or are open.
        answered: those that got a whole answer.
        slots_on_time: radio slots of all sites.
        slots_missed: likewise.
        trace_sha256: of all events, decisions and answers, hex.
    """

    seed: int
    events: int
    commands: int
    requests: int
    answered: int
    slots_on_time: int
    slots_missed: int
    trace_sha256: str


def run(
    scenario: Scenario,
    seed: int,
    policy: Policy | None = None,
    write: Callable[[str], object] | None = None,
    commit: str = "",
) -> RunResult:
    """Run a scenario from start to end.

    Args:
        scenario: what there is and what happens.
        seed: of chance.
        policy: the orchestrator's dials.
        write: gets every line of a recording of the run, which `twin.replay` reads.
        commit: of the code, for the recording's head; part of the trace.
    """
    grid = TwinGrid(scenario, seed, policy, write, commit)
    grid.advance(scenario.duration_s)
    radios = [site.radio for site in grid.world.sites.values() if site.radio]
    return RunResult(
        seed=seed,
        events=grid.events,
        commands=grid.commands,
        requests=len(grid.world.requests),
        answered=sum(request.status == ANSWERED for request in grid.world.ended),
        slots_on_time=sum(radio.on_time for radio in radios),
        slots_missed=sum(radio.missed for radio in radios),
        trace_sha256=grid.trace_sha256(),
    )
