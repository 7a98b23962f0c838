"""What came of one trial, and of many."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that was broken.

    Attributes:
        rule: its name.
        at_s: simulated time.
        site: where; empty for the whole grid.
        expected: what should have been.
        seen: what was.
        command: that repeats it.
        faults: the fewest of its faults that still break it, as plain values.
        faults_of: how many it had.
    """

    rule: str
    at_s: float
    site: str
    expected: str
    seen: str
    command: str
    faults: tuple[dict[str, Any], ...] = ()
    faults_of: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial.

    Attributes:
        seed: that names it.
        sites: it had.
        simulated_s: time that passed in it.
        events: that the orchestrator handled.
        requests: that came.
        served: that were answered.
        refused: that nobody took in time.
        broken: streams that broke in the middle.
        retried: that were given to more than one site.
        faults: how many of each kind.
        recovery_s: from the last fault until all was well for good; None where none was over.
        trace_sha256: of all events, decisions and answers.
        failure: the first broken rule.
    """

    seed: int
    sites: int
    simulated_s: float
    events: int
    requests: int
    served: int
    refused: int
    broken: int
    retried: int
    faults: dict[str, int]
    recovery_s: float | None
    trace_sha256: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class SwarmResult:
    """Many trials.

    Attributes:
        seed: of the first.
        asked: how many were to be tried.
        outcomes: of those that were, by seed.
        wall_s: it took.
        workers: processes.
        commit: of the code.
        failures: of those that broke a rule.
    """

    seed: int
    asked: int
    outcomes: tuple[Outcome, ...]
    wall_s: float
    workers: int
    commit: str = ""
    failures: tuple[Failure, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = tuple(o.failure for o in self.outcomes if o.failure is not None)
        object.__setattr__(self, "failures", found)

    def total(self, name: str) -> int:
        """The sum of one count over all trials."""
        return sum(int(getattr(outcome, name)) for outcome in self.outcomes)

    def in_flight(self) -> int:
        """Requests that were open when their grid ended."""
        ended = sum(self.total(name) for name in ("served", "refused", "broken"))
        return self.total("requests") - ended

    def faults(self) -> dict[str, int]:
        """How many of each kind, by name."""
        return count_kinds(
            kind for o in self.outcomes for kind, n in o.faults.items() for _ in range(n)
        )

    def slowest(self) -> Outcome | None:
        """The trial that took longest to recover."""
        recovered = [outcome for outcome in self.outcomes if outcome.recovery_s is not None]
        return max(recovered, key=lambda outcome: outcome.recovery_s or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        slowest = self.slowest()
        names = ("sites", "events", "requests", "served", "refused", "broken", "retried")
        return {
            "scenarios": len(self.outcomes),
            "asked": self.asked,
            "seed": self.seed,
            "commit": self.commit,
            "wall_s": round(self.wall_s, 2),
            "workers": self.workers,
            "simulated_s": round(sum(outcome.simulated_s for outcome in self.outcomes), 1),
            **{name: self.total(name) for name in names},
            "in_flight": self.in_flight(),
            "faults": self.faults(),
            "slowest_recovery": None
            if slowest is None or slowest.recovery_s is None
            else {"seed": slowest.seed, "recovery_s": round(slowest.recovery_s, 2)},
            "trace_sha256": self.trace_sha256(),
            "passed": len(self.outcomes) - len(self.failures),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def trace_sha256(self) -> str:
        """Of the traces of all trials in order of their seeds."""
        traces = "\n".join(outcome.trace_sha256 for outcome in self.outcomes)
        return hashlib.sha256(traces.encode()).hexdigest()


def count_kinds(kinds: Iterable[str]) -> dict[str, int]:
    """How many of each, in order of their names."""
    return dict(sorted(Counter(kinds).items()))
