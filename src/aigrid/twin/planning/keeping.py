"""Plans whose capital keeps a budget."""

from __future__ import annotations

import math
import time

from aigrid.twin.planning.fast import (
    FREE_ONLY,
    Heard,
    Search,
    judged,
    plan,
    starts,
    timed,
)
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.solution import Solution, account

BISECTIONS = 16


def within(
    model: Model, all_demand: bool, budget_usd: float, heard: Heard | None = None
) -> Solution | None:
    """The best plan whose capital keeps a budget: capital is made dearer until it does.

    Returns:
        None where all demand must be carried and no price of capital makes it fit.
    """
    began = time.perf_counter()
    found = plan(model, all_demand, heard=heard, thorough=False)
    if account(model, found).capital_usd <= budget_usd:
        return found
    low, high = 0.0, 1.0
    best = None if all_demand else _shrunk(model, budget_usd)
    under = False
    for step in range(BISECTIONS):
        dear = 0.5 * (low + high) if under else high
        found = plan(model, all_demand, dear, heard, thorough=False)
        if account(model, found).capital_usd <= budget_usd:
            better = best is None or judged(model, found, all_demand, 0.0) <= judged(
                model, best, all_demand, 0.0
            )
            best, high, under = found if better else best, dear, True
        elif not under:
            low, high = high, high * 8.0
            if step >= 4 and all_demand:
                return None
        else:
            low = dear
    return None if best is None else timed(best, time.perf_counter() - began)


def _shrunk(model: Model, budget_usd: float) -> Solution:
    """Larger plans, whose poorest sites are closed until the budget is kept; the best of them."""
    best, least = None, math.inf
    for ranks, _ in starts(model, thorough=True):
        search = Search(model, False, FREE_ONLY)
        search.refuse_all()
        search.take_towers()
        search.price(0.0)
        search.begin(ranks, keeps_towers=True)
        search.improve(soft=False)
        spent = account(model, search.solution(0.0)).capital_usd
        while spent > budget_usd and search.close_poorest():
            search.room_usd = budget_usd
            search.improve(soft=False)
            spent = account(model, search.solution(0.0)).capital_usd
        found = search.solution(0.0)
        cost = judged(model, found, False, 0.0)
        if spent <= budget_usd and cost < least:
            best, least = found, cost
    assert best is not None
    return best
