"""Run one trial with all rules on; where one breaks, find the fewest faults that break it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from aigrid.control.world import Timed
from aigrid.core.events import Command
from aigrid.twin.gateway import ANSWERED, BROKEN, FAILED
from aigrid.twin.grid import TwinGrid
from aigrid.twin.scenario import Fault
from aigrid.twin.swarm.checkers import RULES
from aigrid.twin.swarm.draw import draw
from aigrid.twin.swarm.ends import END_RULES, replays
from aigrid.twin.swarm.look import Finding, Look, Memory
from aigrid.twin.swarm.outcome import Failure, Outcome, count_kinds
from aigrid.twin.swarm.trial import Trial

# Runs that may be spent on finding fewer faults.
SHRINK_RUNS = 24


class RuleBrokenError(Exception):
    """Stops a trial at the first rule that does not hold."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.rule}: {finding.site}: {finding.seen}")
        self.finding = finding


def attempt(seed: int) -> Outcome:
    """Draw the trial of a seed and run it; a failing one comes with its smallest list of faults."""
    trial = draw(seed)
    outcome = run_trial(trial)
    if outcome.failure is None:
        return outcome
    faults = fewest_faults(trial, outcome.failure.rule)
    shown = tuple(fault.model_dump(mode="json") for fault in faults)
    return replace(outcome, failure=replace(outcome.failure, faults=shown))


def run_trial(trial: Trial) -> Outcome:
    """One trial, from its start to its end or the first broken rule."""
    lines: list[str] = []
    memory = Memory()
    looks: list[Look] = []

    def look(timed: Timed, commands: Sequence[Command]) -> None:
        looks[0].take(timed.event, commands)
        for check in (*RULES, *END_RULES):
            if finding := check(looks[0]):
                raise RuleBrokenError(finding)

    grid = TwinGrid(trial.scenario, trial.seed, trial.policy, lines.append, look=look)
    looks.append(Look(trial, grid, memory))
    try:
        grid.advance(trial.scenario.duration_s)
        finding = replays(lines)
    except RuleBrokenError as broken:
        finding = broken.finding
    return _outcome(trial, grid, memory, finding)


def _outcome(trial: Trial, grid: TwinGrid, memory: Memory, finding: Finding | None) -> Outcome:
    ended, faults = grid.world.ended, trial.scenario.faults
    recovery_s = max(0.0, memory.unsettled_s - trial.healed_s) if faults and not finding else None
    return Outcome(
        seed=trial.seed,
        sites=len(trial.scenario.sites),
        simulated_s=grid.now_s,
        events=grid.events,
        requests=len(grid.world.requests),
        served=sum(request.status == ANSWERED for request in ended),
        refused=sum(request.status == FAILED for request in ended),
        broken=sum(request.status == BROKEN for request in ended),
        retried=sum(request.retries > 0 for request in grid.world.requests),
        faults=count_kinds(fault.kind for fault in faults),
        recovery_s=recovery_s,
        trace_sha256=grid.trace_sha256(),
        failure=None
        if finding is None
        else Failure(
            **asdict(finding),
            at_s=round(grid.now_s, 4),
            command=trial.command(),
            faults_of=len(faults),
        ),
    )


def fewest_faults(trial: Trial, rule: str) -> tuple[Fault, ...]:
    """Drop fault after fault while the same rule still breaks; time and all else stay the same."""
    kept, runs = trial.scenario.faults, 0
    dropped = True
    while dropped and runs < SHRINK_RUNS:
        dropped = False
        for at in reversed(range(len(kept))):
            fewer = kept[:at] + kept[at + 1 :]
            runs += 1
            failure = run_trial(trial.without(fewer)).failure
            if failure is not None and failure.rule == rule:
                kept, dropped = fewer, True
            if runs >= SHRINK_RUNS:
                break
    return kept
