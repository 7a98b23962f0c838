"""Plan, rehearse, correct what fell short, and plan again, until a plan keeps what it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aigrid.twin.planning.corrections import Shortfall, between, corrected, shortfalls
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.rehearsed import Rehearsed
from aigrid.twin.planning.search import EXACT, FAST, Found, Heard, find
from aigrid.twin.planning.seen import Seen
from aigrid.twin.planning.solution import account

# Corrections where promises were broken, before all that went otherwise than planned is corrected.
PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Round:
    """One plan and its rehearsal.

    Attributes:
        found: the plan.
        rehearsed: its day.
        shortfalls: where services kept too few promises; empty if the plan holds.
    """

    found: Found
    rehearsed: Rehearsed
    shortfalls: tuple[Shortfall, ...]

    @property
    def holds(self) -> bool:
        """Whether every service kept the share of its promises that was asked for."""
        return self.rehearsed.keeps(self.found.model.terms.slo_share)

    @property
    def profit_usd(self) -> float:
        """Of a year, as planned."""
        return account(self.found.model, self.found.best).profit_usd


Rehearse = Callable[[Model, Found, int], tuple[Rehearsed, Seen]]


def plan_in_rounds(
    found: Found,
    limit_s: float,
    rounds: int,
    rehearse: Rehearse,
    heard: Heard | None = None,
    told: Callable[[int, Round], None] | None = None,
) -> tuple[Round, ...]:
    """Rehearse a plan, and plan again until one holds or nothing is left to correct.

    Further rounds plan by the fast planner. Where `PATIENCE` corrections did not do, they begin
    again at the first plan, and wider. Once a plan holds, rounds that are left look for a cheaper
    one between it and the last that did not. Where the first was exact too, the problem whose plan
    holds is solved exactly in the end.

    Args:
        found: the first plan; it carries something.
        limit_s: of HiGHS, each time it runs.
        rounds: at most, and one more where it is solved exactly in the end.
        rehearse: a plan in a round, from 0 on.
        heard: is told of the planner's stages.
        told: hears each round.
    """
    done: list[Round] = []

    def go(plan: Found) -> tuple[Round, Seen]:
        rehearsed, seen = rehearse(plan.model, plan, len(done))
        shorts = shortfalls(plan.model, plan.best, seen, plan.model.terms.slo_share)
        done.append(Round(plan, rehearsed, shorts))
        if told:
            told(len(done) - 1, done[-1])
        return done[-1], seen

    def again(problem: Model, how: str) -> tuple[Round, Seen]:
        return go(find(problem, how, limit_s, heard))

    model = found.model
    last, seen = go(found)
    first, failed = (model, last, seen), model
    while not last.holds and len(done) < rounds:
        if len(done) == PATIENCE + 1:
            model, last, seen = first
        wider = len(done) > PATIENCE
        better = corrected(model, last.found.best, last.shortfalls, seen, wider=wider)
        if _same(model, better):
            break
        failed, model = model, better
        last, seen = again(model, FAST)
    if not last.holds or len(done) == 1:
        return tuple(done)
    holding = last
    for _ in range(rounds - len(done)):
        middle = between(failed, holding.found.model)
        if _same(middle, holding.found.model):
            break
        last, _ = again(middle, FAST)
        if last.holds and last.profit_usd >= holding.profit_usd:
            holding = last
        else:
            failed = middle
    if done[0].found.exact is not None:
        last_found = find(holding.found.model, EXACT, limit_s, heard)
        if last_found.best.method == FAST:
            # The plan that holds already: only the gap is new.
            done.append(Round(last_found, holding.rehearsed, ()))
        else:
            go(last_found)
    return tuple(done)


def best_of(rounds: tuple[Round, ...]) -> int:
    """The round that is told as the plan: of those that hold the one that leaves most.

    Where none holds, the one whose worst service came nearest to what was promised.
    """
    holding = [i for i, one in enumerate(rounds) if one.holds]
    if holding:
        # Of the same plan the later one: it may know its gap to the exact one.
        return max(holding, key=lambda i: (rounds[i].profit_usd, i))
    return max(range(len(rounds)), key=lambda i: min(p for _, p in rounds[i].rehearsed.attained))


def _same(one: Model, other: Model) -> bool:
    return (
        bool(np.array_equal(one.allowed, other.allowed))
        and bool(np.array_equal(one.room, other.room))
        and bool(np.array_equal(one.towers.spare, other.towers.spare))
    )
