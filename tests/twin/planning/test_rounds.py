"""Rounds of planning and rehearsing: what a shortfall asks for, and when to stop."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.twin.planning import cases

from aigrid.twin.fluid.tally import Minute
from aigrid.twin.planning import fast
from aigrid.twin.planning.corrections import (
    MORE,
    OTHER,
    TOWERS,
    between,
    corrected,
    more_needed,
    shortfalls,
)
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.rehearsed import Rehearsed
from aigrid.twin.planning.rounds import best_of, plan_in_rounds
from aigrid.twin.planning.search import EXACT, FAST, Found, find
from aigrid.twin.planning.seen import Seen, Watcher
from aigrid.twin.planning.solution import Solution, account, check

MINUTES = 240
SHARE = 0.95


def seen(m: Model, kept: Any, load: float = 0.9) -> Seen:
    """A day on which every site was asked the same; `kept` (R, S) parts, by site."""
    rows, services = len(m.site) + 1, len(m.rate)
    rise = np.linspace(0.5, 1.0, MINUTES)
    asked = np.full((rows, services, MINUTES), 10.0, np.float32)
    parts = np.asarray(kept, np.float64)[:, :, None]
    # What is lost is lost in the minutes of most load.
    good = asked * np.where(rise > 0.75, 2.0 * parts - 1.0, 1.0)
    paths = np.zeros((len(m.site), services, m.options.keeps.shape[2]))
    paths[:, :, 2] = 1.0
    came = asked.sum(axis=(0, 2), dtype=np.float64)
    return Seen(np.tile(load * rise, (rows, 1)).astype("f4"), asked, good.astype("f4"), paths, came)


def planned(towers: int = 0) -> tuple[Model, Solution]:
    m = cases.model(4, most=10_000, towers=towers, scale=10.0)
    m = replace(m, country=SimpleNamespace(services=()))  # type: ignore[arg-type]
    return m, fast.plan(m, True)


def at_one(m: Model, row: int, part: float) -> Any:
    kept = np.ones((len(m.site) + 1, len(m.rate)))
    kept[row, 0] = part
    return kept


def standing(found: Solution) -> int:
    return int(np.flatnonzero(found.option >= 0)[0])


def test_a_day_that_held_asks_for_nothing() -> None:
    m, found = planned()
    assert shortfalls(m, found, seen(m, np.ones((4, 2))), SHARE) == ()


def test_the_site_that_fell_short_gets_more_devices_and_the_others_stay() -> None:
    m, found = planned()
    k = standing(found)
    day = seen(m, at_one(m, k, 0.6))
    (short,) = shortfalls(m, found, day, SHARE)
    assert (short.site, short.service, short.mend) == (k, 0, MORE)
    assert short.kept == pytest.approx(0.6, abs=0.01)
    assert short.load > 0.65
    assert short.first_min >= MINUTES // 2 - 1
    again = corrected(m, found, (short,), day)
    stand = found.option >= 0
    assert again.room[k] > 1.0
    assert np.all(again.room[stand & (np.arange(3) != k)] == 1.0)
    better = fast.plan(again, True)
    check(again, better)
    assert account(again, better).cost_usd > account(m, found).cost_usd


def test_what_is_late_at_any_load_needs_another_device() -> None:
    m, found = planned()
    k = standing(found)
    keeps = m.options.keeps.copy()
    keeps[found.option[k], 0] = False
    m.options.keeps[:] = keeps
    kept = at_one(m, k, 0.6)
    day = seen(m, kept)
    day.kept[k, 0] = 0.5 * day.asked[k, 0]
    (short,) = shortfalls(m, found, day, SHARE)
    assert short.mend == OTHER
    again = corrected(m, found, (short,), day)
    assert not again.allowed[k, found.option[k]]
    assert again.allowed[k].any() or not keeps[m.allowed[k]][:, 0, 2].any()


def test_towers_that_fall_short_are_reckoned_smaller() -> None:
    m, found = planned(towers=4)
    day = seen(m, at_one(m, 3, 0.2))
    (short,) = shortfalls(m, found, day, SHARE)
    assert short.mend == TOWERS
    again = corrected(m, found, (short,), day)
    assert np.all(again.towers.spare < m.towers.spare)


@given(
    load=st.lists(st.floats(0.01, 2.0), min_size=2, max_size=50),
    at=st.floats(0.05, 1.5),
    sure=st.floats(0.0, 0.7),
)
def test_more_devices_are_asked_for_where_load_is_higher(
    load: list[float], at: float, sure: float
) -> None:
    """Of a site that keeps all below a load, and nothing above."""
    loads = np.array(load)
    asked = np.ones(len(loads))
    kept = (loads <= at).astype(np.float64)
    factor = more_needed(loads, asked, kept, SHARE, sure)
    if factor is None:
        assert sure == 0.0
        return
    assert 1.0 < factor <= 4.0
    heavier = more_needed(loads * 1.5, asked, (loads * 1.5 <= at).astype(np.float64), SHARE, sure)
    if heavier is not None and kept.any() and sure == 0.0:
        assert heavier >= factor - 1e-9 or not (loads * 1.5 <= at).any()


def rehearsed(m: Model, found: Found, kept: Any) -> tuple[Rehearsed, Seen]:
    day = seen(m, kept)
    attained = tuple(zip(("chat", "speech"), day.attained.tolist(), strict=True))
    return Rehearsed(min(p for _, p in attained), 1.0, 0.5, 0.0, 1.0, 1.0, 1.0, attained), day


def test_rounds_end_with_the_first_plan_that_holds() -> None:
    m, _ = planned()

    def rehearse(model: Model, found: Found, at: int) -> tuple[Rehearsed, Seen]:
        k = standing(found.best)
        return rehearsed(model, found, at_one(model, k, (0.5, 0.7, 1.0)[at]))

    rounds = plan_in_rounds(find(m, FAST), 1.0, 3, rehearse)
    assert [one.holds for one in rounds] == [False, False, True]
    assert best_of(rounds) == 2
    assert rounds[1].found.model.room.max() > 1.0


def test_rounds_have_a_limit_and_the_nearest_plan_is_told() -> None:
    m, _ = planned()

    def rehearse(model: Model, found: Found, at: int) -> tuple[Rehearsed, Seen]:
        k = standing(found.best)
        return rehearsed(model, found, at_one(model, k, (0.5, 0.7, 0.6)[at]))

    rounds = plan_in_rounds(find(m, FAST), 1.0, 3, rehearse)
    assert len(rounds) == 3
    assert not any(one.holds for one in rounds)
    assert best_of(rounds) == 1


def test_wider_corrections_count_on_a_site_for_what_it_was_sent() -> None:
    m, found = planned()
    k = standing(found)
    day = seen(m, at_one(m, k, 0.6))
    shorts = shortfalls(m, found, day, SHARE)
    other = [i for i in np.flatnonzero(found.option >= 0) if found.upward[:, :, 0].sum() and i != k]
    narrow = corrected(m, found, shorts, day)
    wide = corrected(m, found, shorts, day, wider=True)
    assert np.all(wide.room >= narrow.room)
    assert wide.room[other].sum() > narrow.room[other].sum()


def test_halfway_back_is_between_and_ends() -> None:
    m, _ = planned()
    holding = replace(m, room=m.room * 4.0)
    middle = between(m, holding)
    assert np.all((middle.room > m.room) & (middle.room < holding.room))
    close = replace(m, room=m.room * 1.05)
    assert np.array_equal(between(m, close).room, close.room)


def test_rounds_that_are_left_look_for_a_cheaper_plan_that_holds() -> None:
    m, _ = planned()

    def rehearse(model: Model, found: Found, at: int) -> tuple[Rehearsed, Seen]:
        k = standing(found.best)
        # Half of what the correction asked for would have done.
        return rehearsed(model, found, at_one(model, k, (0.5, 1.0, 1.0, 0.5)[at]))

    rounds = plan_in_rounds(find(m, FAST), 1.0, 4, rehearse)
    assert [one.holds for one in rounds] == [False, True, True, False]
    assert best_of(rounds) == 2
    assert rounds[2].profit_usd > rounds[1].profit_usd


def test_what_is_lost_counts_at_the_topmost_site_with_a_device() -> None:
    """A factory without one, a hub with one, and two towers below it, one of them with AI."""
    m = cases.model(4, towers=2)
    network = SimpleNamespace(
        devices=np.array([0.0, 2.0, 0.0, 1.0, 1.0]),
        kind=np.array([0, 1, 1, 2, 2]),
        parent=np.array([-1, 0, 0, 1, 2]),
    )
    m = replace(m, towers=replace(m.towers, row=np.array([3, 4])))
    found = replace(fast.plan(m, True), tower=np.array([0, -1]))
    watcher = Watcher(m, found, network, 1)  # type: ignore[arg-type]
    served = np.tile([0.0, 6.0, 0.0, 3.0, 0.0], (2, 1))
    over = np.tile([4.0, 4.0, 0.0, 1.0, 0.0], (2, 1))
    paths = np.zeros((2, 3, m.options.keeps.shape[2]), np.float32)
    good = np.full((2, 5), 0.5)
    watcher.watch(0, Minute(served, good, over, np.full(5, 0.9), paths))
    day = watcher.seen(np.full(2, 13.0))
    assert day.asked[:, 0, 0] == pytest.approx([0.0, 10.0, 0.0, 3.0])
    assert day.kept[:, 0, 0] == pytest.approx([0.0, 3.0, 0.0, 1.5])
    assert day.attained == pytest.approx(4.5 / 13.0)


def test_an_exact_first_round_is_exact_in_the_end() -> None:
    m, _ = planned()

    def rehearse(model: Model, found: Found, at: int) -> tuple[Rehearsed, Seen]:
        k = standing(found.best)
        return rehearsed(model, found, at_one(model, k, (0.5, 1.0, 1.0, 1.0)[at]))

    rounds = plan_in_rounds(find(m, EXACT), 1.0, 2, rehearse)
    assert rounds[-1].found.exact is not None
    assert rounds[best_of(rounds)].found.exact is not None
    assert rounds[best_of(rounds)].profit_usd >= rounds[1].profit_usd
