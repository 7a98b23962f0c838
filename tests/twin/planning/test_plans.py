"""Plans: the exact one against brute force, the fast one against the exact one, and their rules."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.twin.planning import cases

from aigrid.twin.fluid.checks import RuleBrokenError
from aigrid.twin.planning import exact, fast, keeping
from aigrid.twin.planning.bound import least_usd
from aigrid.twin.planning.exact import Wanted
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.opening import open_sites
from aigrid.twin.planning.solution import Solution, account, carried, check


def everything(m: Model, budget_usd: float = math.inf) -> Wanted:
    return Wanted(True, budget_usd, m.demand)


def cheapest(m: Model) -> float:
    found = exact.solve(m, everything(m))
    if found is None:
        return math.inf
    check(m, found)
    return account(m, found).cost_usd


@pytest.mark.parametrize("seed", range(5))
def test_exact_is_what_brute_force_finds(seed: int) -> None:
    m = cases.model(seed, towers=1, most=2)
    least = cases.brute_force(m)
    assert cheapest(m) == (pytest.approx(least, rel=2e-4) if math.isfinite(least) else least)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), towers=st.integers(0, 6), scale=st.floats(0.1, 20.0))
def test_fast_keeps_every_rule_and_never_beats_exact_or_bound(
    seed: int, towers: int, scale: float
) -> None:
    m = cases.model(seed, towers, most=10_000, scale=scale)
    quick = fast.plan(m, True)
    check(m, quick)
    assert carried(m, quick) == pytest.approx(m.demand)
    cost = account(m, quick).cost_usd
    assert cost >= cheapest(m) * (1.0 - 2e-4)
    assert cost >= least_usd(m, everything(m)) * (1.0 - 1e-6)


def test_more_demand_never_costs_less() -> None:
    costs = [cheapest(cases.model(3, most=50, scale=scale)) for scale in (0.5, 1.0, 1.5, 3.0)]
    assert costs == sorted(costs)
    assert costs[-1] > costs[0]


@pytest.mark.parametrize("part", [0.0, 0.2, 0.6])
def test_a_budget_is_kept_and_spent_where_it_earns(part: int) -> None:
    m = cases.model(1, most=50)
    full = account(m, fast.plan(m, True))
    budget = full.capital_usd * part
    wanted = Wanted(False, budget, m.demand)
    quick, best = keeping.within(m, False, budget), exact.solve(m, wanted)
    assert quick is not None
    assert best is not None
    for found in (quick, best):
        check(m, found)
        assert account(m, found).capital_usd <= budget + 1e-6
    most = account(m, best).profit_usd
    assert most >= account(m, quick).profit_usd - 1e-4 * abs(most)
    assert most >= 0.0
    assert most <= -least_usd(m, wanted) * (1.0 + 1e-6)


def test_all_demand_within_too_small_a_budget_is_no_plan() -> None:
    m = cases.model(1, most=50)
    assert exact.solve(m, everything(m, 1.0)) is None
    assert keeping.within(m, True, 1.0) is None


def test_a_service_stays_where_it_may_run() -> None:
    m = cases.model(2, most=50)
    m = replace(m, lawful=np.array([[False, False], [True, True], [True, True]]))
    for found in (fast.plan(m, True), exact.solve(m, everything(m))):
        assert found is not None
        check(m, found)
        assert found.count[0] == 0


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda m, s: replace(s, upward=s.upward * 1.5), "more than"),
        (lambda m, s: replace(s, count=np.maximum(s.count - 1, 0)), "plan"),
        (lambda m, s: replace(s, option=np.full(3, -1), count=np.zeros(3, int)), "nothing stands"),
    ],
)
def test_a_broken_plan_is_caught(broken, rule: str) -> None:  # type: ignore[no-untyped-def]
    m = cases.model(4, most=50, towers=0, scale=10.0)
    found: Solution = fast.plan(m, True)
    with pytest.raises(RuleBrokenError, match=rule):
        check(m, broken(m, found))


def test_serving_outside_the_law_or_the_promise_is_caught() -> None:
    m = cases.model(4, most=50, towers=0)
    found = fast.plan(m, True)
    with pytest.raises(RuleBrokenError, match="may not"):
        check(replace(m, lawful=np.zeros_like(m.lawful)), found)
    slow = replace(m, options=replace(m.options, keeps=np.zeros_like(m.options.keeps)))
    with pytest.raises(RuleBrokenError, match="promise"):
        check(slow, found)


def test_a_site_that_pays_for_two_groups_only_is_opened() -> None:
    """Two groups reach one more hub; a device there saves more than its price for both, not one."""
    m = cases.model(4, most=10_000, towers=0)
    m = replace(
        m,
        near=np.array([[0, 1], [0, 1]]),
        path=np.array([[2, 2], [2, 2]]),
        lawful=np.ones_like(m.lawful),
        carry_usd=np.zeros(2),
        customers=np.ones(2),
    )
    work = np.array([[1.0, 1.0], [1.0, 1.0], [0.1, 9.0], [9.0, 9.0]])
    rate = np.array([[3.0, 3.0], [0.1, 0.1]])
    m = replace(m, options=replace(m.options, work_s=work), rate=rate)
    search = fast.Search(m, True)
    search.begin((0, 0))
    before = account(m, search.solution(0.0)).cost_usd
    assert open_sites(search) == 1
    found = search.solution(0.0)
    check(m, found)
    assert found.count[1] > 0
    assert account(m, found).cost_usd < before
