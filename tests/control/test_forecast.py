import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import forecast

DAY = forecast.DAY_MIN


def shape(minute: float) -> float:
    return 2.0 + np.sin(2 * np.pi * minute / DAY)


def learned(days: int = 5, noise: float = 0.0) -> forecast.DailyProfile:
    profile, rng = forecast.empty(3), np.random.default_rng(3)
    for minute in range(0, int(days * DAY), 15):
        value = shape(minute + 7.5) * np.array([1.0, 2.0, 3.0])
        forecast.learn(profile, minute, value + noise * rng.standard_normal(3), 0.05)
    return profile


def test_without_a_past_things_stay_as_they_are():
    value = np.array([1.0, 2.0])
    assert forecast.ahead(forecast.empty(2), 0.0, 30.0, value, 4.0).tolist() == [1.0, 2.0]
    assert forecast.demand_ahead(forecast.empty(2), 0.0, 30.0, value).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("ahead_min", [0.0, 60.0, 240.0, 1440.0])
def test_a_day_like_the_others_is_foreseen(ahead_min):
    profile, now = learned(), 5 * DAY + 607.5
    value = shape(607.5) * np.array([1.0, 2.0, 3.0])
    found = forecast.ahead(profile, now, ahead_min, value, 0.0, smooth=True)
    assert found == pytest.approx(shape(607.5 + ahead_min) * np.array([1, 2, 3]), rel=1e-4)


def test_between_the_middles_of_two_bins_a_smooth_day_lies_between_their_means():
    profile = learned()
    for now in (600.0, 603.0, 614.9):
        value = shape(now) * np.array([1.0, 2.0, 3.0])
        found = forecast.ahead(profile, now, 1.0, value, 0.0, smooth=True)
        assert found == pytest.approx(shape(now + 1.0) * np.array([1, 2, 3]), rel=1e-3)
        asked = forecast.demand_ahead(profile, now, 1.0, value, 0.9, smooth=True)
        assert asked == pytest.approx(shape(now + 1.0) * np.array([1, 2, 3]), rel=1e-3)


def test_a_deviation_counts_now_and_is_forgotten_later():
    profile = learned()
    usual = shape(607.5) * np.array([1.0, 2.0, 3.0])
    soon, late = (
        forecast.ahead(profile, 600.0, minutes, usual + 1.0, 0.0)
        - forecast.ahead(profile, 600.0, minutes, usual, 0.0)
        for minutes in (1.0, 120.0)
    )
    assert np.all(soon > 0.8)
    assert np.all(late < 0.01)


def test_the_quantile_asked_for_holds_about_as_often_as_it_says():
    rows, rng = 300, np.random.default_rng(8)
    profile = forecast.empty(rows)
    for _ in range(20):
        forecast.learn(profile, 600.0, 2.0 + 0.2 * rng.standard_normal(rows), 0.05)
        forecast.learn(profile, 840.0, 3.0 + 0.2 * rng.standard_normal(rows), 0.05)
    bound = forecast.ahead(profile, 600.0, 240.0, np.full(rows, 2.0), 1.64)
    seen = 3.0 + 0.2 * rng.standard_normal((1000, rows))
    # 5% where mean and spread are known exactly; 20 days leave some doubt about both.
    assert 0.03 < (seen > bound).mean() < 0.09


def test_a_busy_day_is_expected_to_stay_busy():
    profile = learned()
    busy = 1.5 * shape(607.5) * np.array([1.0, 2.0, 3.0])
    soon, late = (
        forecast.demand_ahead(profile, 600.0, minutes, busy)
        / (shape(607.5 + minutes) * np.array([1, 2, 3]))
        for minutes in (15.0, 600.0)
    )
    assert np.all((soon > 1.4) & (soon < 1.5))
    assert np.all((late > 1.0) & (late < 1.1))


def test_rows_that_came_later_know_nothing_until_they_learn():
    profile = forecast.grown(learned(), 5)
    value = np.array([2.0, 4.0, 6.0, 7.0, 8.0])
    found = forecast.ahead(profile, 600.0, 240.0, value, 3.0)
    assert found[3:].tolist() == [7.0, 8.0]
    forecast.learn(profile, 600.0, value, 0.05)
    forecast.learn(profile, 840.0, value + 1.0, 0.05)
    assert forecast.ahead(profile, 600.0, 240.0, value, 0.0)[3:].tolist() == [8.0, 9.0]


@given(
    st.lists(st.floats(0.0, 1e3), min_size=4, max_size=4),
    st.floats(-1e5, 1e5),
    st.floats(0.0, 2000.0),
    st.floats(0.0, 5.0),
)
def test_forecasts_are_numbers_and_not_negative_and_rise_with_z(values, now, minutes, z):
    profile = forecast.empty(2)
    for at in (now, now + minutes):
        forecast.learn(profile, at, np.array(values[:2]), 0.1)
        forecast.learn(profile, at, np.array(values[2:]), 0.1)
    low = forecast.ahead(profile, now, minutes, np.array(values[:2]), 0.0)
    high = forecast.ahead(profile, now, minutes, np.array(values[:2]), z)
    assert np.all(np.isfinite(low) & (low >= 0.0) & (high >= low))
