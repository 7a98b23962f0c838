"""From a country and terms to a plan: exactly, fast, or both; what is in the way where none is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.planning import exact, fast, keeping
from aigrid.twin.planning.bound import least_usd
from aigrid.twin.planning.exact import Wanted
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.obstacles import Obstacle, obstacles
from aigrid.twin.planning.solution import Solution, account, carried, check, straight_usd

AUTO, EXACT, FAST = "auto", "exact", "fast"
# Solved exactly without being asked, up to so many variables.
SMALL = 40_000
Heard = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A plan and how good it is.

    Attributes:
        model: what was planned.
        best: the cheaper of the two.
        exact: None where it did not run.
        fast: None where it found none.
        all_demand: all that can be carried is; else the budget is too small: what earns most.
        bound_usd: no plan costs less (less revenue, where not all is carried); -inf if unknown.
        full_capital_usd: of the fast plan that carries all that can be, whatever the budget.
        obstacles: what no device that may be bought can carry, and why.
        missing: (G, S, T) requests a second that are not carried.
    """

    model: Model
    best: Solution
    exact: Solution | None
    fast: Solution | None
    all_demand: bool
    bound_usd: float
    full_capital_usd: float
    obstacles: tuple[Obstacle, ...]
    missing: NDArray[np.float64]

    def objective_usd(self, solution: Solution) -> float:
        """What was made small: cost of a year, less revenue where not all is carried."""
        money = account(self.model, solution)
        return money.cost_usd if self.all_demand else -money.profit_usd

    def _straight_usd(self, solution: Solution) -> float:
        """As `objective_usd`, with energy as the exact planner reckons it: in straight lines."""
        earned = 0.0 if self.all_demand else account(self.model, solution).revenue_usd
        return straight_usd(self.model, solution) - earned

    @property
    def gap(self) -> float:
        """Fast over exact by the exact planner's own cost, less one; NaN unless both ran."""
        if self.exact is None or self.fast is None:
            return math.nan
        return _gap(self._straight_usd(self.fast), self._straight_usd(self.exact))

    @property
    def gap_in_use(self) -> float:
        """The same by the cost that is told, with energy as it is used."""
        if self.exact is None or self.fast is None:
            return math.nan
        return _gap(self.objective_usd(self.fast), self.objective_usd(self.exact))

    @property
    def open_gap(self) -> float:
        """What the exact planner left open in its time, by its own cost; NaN unless it ran."""
        if self.exact is None or not math.isfinite(self.exact.bound_usd):
            return math.nan
        return max(_gap(self._straight_usd(self.exact), self.exact.bound_usd), 0.0)

    @property
    def gap_to_bound(self) -> float:
        """The plan over what no plan can beat, less one; NaN where that is not known."""
        if not math.isfinite(self.bound_usd):
            return math.nan
        return max(_gap(self.objective_usd(self.best), self.bound_usd), 0.0)


def _gap(value: float, least: float) -> float:
    return (value - least) / abs(least) if least else (0.0 if value == least else math.inf)


def find(
    model: Model, method: str = AUTO, limit_s: float = 60.0, heard: Heard | None = None
) -> Found:
    """Plan a country.

    Args:
        model: to plan.
        method: `exact`, `fast`, or `auto`: fast, and exact too where the case is small.
        limit_s: of HiGHS, each time it runs.
        heard: is told of stages.

    Raises:
        ConfigurationError: too large for `exact`.
        UnavailableError: nothing was found in time.
        RuleBrokenError: a plan breaks a rule; a fault of aigrid.
    """

    def tell(stage: str) -> Callable[[int], None]:
        return lambda done: heard(stage, done) if heard else None

    budget = model.terms.budget_usd
    quick: Solution | None = fast.plan(model, True, heard=tell("fast"))
    assert quick is not None
    least = np.minimum(carried(model, quick), model.demand)
    all_demand = True
    full = account(model, quick).capital_usd
    if full > budget:
        quick = keeping.within(model, True, budget, tell("budget"))
    wanted = Wanted(True, budget, least)
    runs_exact = method == EXACT or (method == AUTO and exact.size(model) <= SMALL)
    if runs_exact:
        tell(EXACT)(0)
    solved = exact.solve(model, wanted, limit_s, quick) if runs_exact else None
    if quick is None and solved is None:
        all_demand, wanted = False, replace(wanted, all_demand=False)
        quick = keeping.within(model, False, budget, tell("budget"))
        solved = exact.solve(model, wanted, limit_s, quick) if runs_exact else None
    for found in (quick, solved):
        if found is not None:
            check(model, found)
    bound = solved.bound_usd if solved is not None else -math.inf
    if not math.isfinite(bound):
        tell("bound")(0)
        bound = least_usd(model, wanted, limit_s)
    options = [f for f in (solved, quick) if f is not None]
    draft = Found(model, options[0], solved, quick, all_demand, bound, full, (), model.demand)
    best = min(options, key=draft.objective_usd)
    missing = np.maximum(model.demand - carried(model, best), 0.0)
    missing[missing <= 1e-6 * np.maximum(model.demand, 1e-12)] = 0.0
    return replace(
        draft, best=best, missing=missing, obstacles=obstacles(model, missing, all_demand)
    )
