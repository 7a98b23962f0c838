"""One random grid: what there is, what goes wrong, and by when all must be well again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aigrid.control.policy import Policy
from aigrid.twin.scenario import Corruption, Crash, Fault, Physics, Scenario, Slow

# How long nothing happens at the end, at least; routes and placement must stand still then.
CALM_S = 15.0
CALM_BEATS = 12


@dataclass(frozen=True, slots=True)
class Trial:
    """A grid of the swarm.

    Attributes:
        seed: it is drawn from, and chance of its run.
        scenario: sites, services, demand and faults.
        policy: the orchestrator's dials.
        healed_s: when the last fault is over; those that never end are then part of the grid.
    """

    seed: int
    scenario: Scenario
    policy: Policy
    healed_s: float

    @property
    def settled_by_s(self) -> float:
        """When the grid must have recovered."""
        return self.healed_s + recovery_limit_s(self.scenario, self.policy)

    def without(self, faults: tuple[Fault, ...]) -> Trial:
        """The same grid and time, with these faults only."""
        return replace(self, scenario=self.scenario.model_copy(update={"faults": faults}))

    def command(self) -> str:
        """Repeats exactly this."""
        return f"aigrid rehearse --swarm 1 --seed {self.seed}"


def recovery_limit_s(scenario: Scenario, policy: Policy) -> float:
    """How long after the last fault all may take to be as it should.

    The sum of: heartbeats and ticks until a site is seen; the pause before a failed start is tried
    again; pulling and loading the largest package, as slowly as a fault lets it; the rise of a
    share from nothing; one look of placement.
    """
    physics = scenario.physics
    beats_s = 4.0 * (physics.heartbeat_s + physics.hop_s) + 2.0 * physics.tick_s
    slowest = max((f.factor for f in scenario.faults if isinstance(f, Slow)), default=1.0)
    largest_mb = max((package.size_mb for package in scenario.packages), default=0.0)
    load_s = largest_mb * (1.0 / physics.link_mb_per_s + 1.0 / physics.load_mb_per_s)
    rise_s = 2.0 * (policy.guard_floor + policy.guard_step) / policy.guard_rise_per_s
    look_s = policy.place_period_s + policy.route_period_s
    return beats_s + policy.retry_max_s + 2.0 * load_s * slowest + rise_s + look_s


def calm_s(physics: Physics) -> float:
    """How long the end is in which nothing happens."""
    return max(CALM_S, CALM_BEATS * physics.heartbeat_s)


def fault_end_s(fault: Fault) -> float:
    """When a fault is over; when it begins, where it never is."""
    if isinstance(fault, Crash):
        return fault.at_s + (fault.back_after_s or 0.0)
    if isinstance(fault, Corruption):
        return fault.at_s + (fault.for_s or 0.0)
    return fault.at_s + fault.for_s
