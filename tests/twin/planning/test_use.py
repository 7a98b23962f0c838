"""Energy of a plan: of the time that something runs, at the load that its flows make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.twin.planning import cases

from aigrid.twin.planning import fast
from aigrid.twin.planning.options import USED, able_of, least_running
from aigrid.twin.planning.solution import account, straight_usd, uses
from aigrid.twin.planning.use import in_use, mean_load, period_s


def test_a_device_at_half_load_is_in_use_as_its_table_says() -> None:
    busy = np.minimum(2.0 * USED, 1.0)[None]
    load = np.array([[0.0, 0.25, 0.5, 2.0]])
    assert in_use(busy, load) == pytest.approx(np.array([[0.0, 0.5, 1.0, 1.0]]))
    assert least_running(busy[0], 0.5) == pytest.approx(2.0)
    assert least_running(busy[0], 1.0) == pytest.approx(1.0)


def test_mean_load_is_a_year_of_work_over_a_year_of_devices() -> None:
    year = np.full((1, 4), period_s(4))
    rate = np.full((1, 1, 4), 3.0)
    assert mean_load(rate, year, np.array([[0.5]]), np.array([[2.0]])) == pytest.approx(0.75)


def test_energy_follows_use_and_the_straight_line_stays_below() -> None:
    m = cases.model(4, most=10_000, scale=10.0)
    steep = np.tile(np.minimum(3.0 * USED, 1.0), (4, 1))
    least = np.array(
        [least_running(row, load) for row, load in zip(steep, m.options.load, strict=True)]
    )
    eager = replace(m, options=replace(m.options, busy=steep, running=least))
    found = fast.plan(m, True)
    assert account(eager, found).energy_usd > account(m, found).energy_usd
    assert straight_usd(eager, found) <= account(eager, found).cost_usd * (1.0 + 1e-9)
    assert straight_usd(m, found) == pytest.approx(account(m, found).cost_usd)
    used = found.option >= 0
    assert np.all(uses(eager, found)[used] >= uses(m, found)[used])
    assert np.all(uses(eager, found)[~used] == 0.0)


def test_a_site_can_do_what_any_of_its_options_can() -> None:
    m = cases.model(1)
    keeps = able_of(m.allowed, m.options.keeps)
    for k, allowed in enumerate(m.allowed):
        assert np.array_equal(keeps[k], m.options.keeps[allowed].any(axis=0))
