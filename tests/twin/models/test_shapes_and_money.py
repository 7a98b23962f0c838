import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import Money
from aigrid.twin.models import lengths, money, path, shapes
from aigrid.twin.models.devices import known

DATA = Path(__file__).parents[4] / "shared" / "data"
MONEY = Money(
    usd_per_kwh=0.2,
    pue=1.5,
    life_years=5.0,
    upkeep=0.1,
    radio_only_tower_usd=10_000.0,
    radio_usd_per_customer_year=200.0,
)


def column(name: str, *columns: str) -> list[list[str]]:
    file = DATA / name
    if not file.exists():
        pytest.skip(f"{file.name} is not here: see the README of the shared data")
    with file.open(newline="") as rows:
        return [[row[c] for c in columns] for row in csv.DictReader(rows)]


def test_shipped_load_parameters_are_the_fit_of_the_measured_cell() -> None:
    rows = column("radio/elborn.csv", "time", "rb_down")
    times = [datetime.fromisoformat(time) for time, _ in rows]
    minute = np.array([60.0 * t.hour + t.minute for t in times])
    fit = shapes.fit_load(minute, np.array([float(load) for _, load in rows]), 2.0)
    assert fit.spread == pytest.approx(shapes.SPREAD, rel=0.02)
    assert fit.memory == pytest.approx(shapes.MEMORY, abs=0.002)
    # The measured load remembers longer than the process does: 0.79 against 0.34 in half an hour.
    assert fit.memory_half_hour > fit.memory**30


@pytest.mark.parametrize(("trace", "name"), [("conv", "conversation"), ("code", "code")])
def test_shipped_token_lengths_are_those_of_the_trace(trace: str, name: str) -> None:
    rows = column(f"llm-trace/azure_{trace}.csv", "ContextTokens", "GeneratedTokens")
    counts = np.array(rows, dtype=np.float64)
    for at, part in enumerate(("prompt", "generated")):
        shipped = lengths.BY_NAME[f"azure-{name}-{part}"]
        assert lengths.from_counts(counts[:, at]) == shipped
        assert shipped.mean == pytest.approx(counts[:, at].mean(), rel=0.001)


def test_a_fitted_process_is_found_again() -> None:
    rng = np.random.default_rng(5)
    minute = np.arange(30 * 1440) % 1440
    deviation, found = np.zeros(1), np.zeros(len(minute))
    for i, normal in enumerate(rng.standard_normal(len(minute))):
        deviation = shapes.next_deviation(deviation, 0.95, np.array([normal]))
        found[i] = deviation[0]
    load = shapes.radio_shape("home")[minute] * shapes.load_factor(found, 0.4)
    assert load.mean() == pytest.approx(shapes.radio_shape("home").mean(), rel=0.05)
    fit = shapes.fit_load(minute.astype(np.float64), load, 1.0)
    assert fit.spread == pytest.approx(0.4, rel=0.1)
    assert fit.memory == pytest.approx(0.95, abs=0.01)


def test_radio_peaks_at_one_and_demand_means_one() -> None:
    for name in shapes.RADIO_SHAPES:
        assert shapes.radio_shape(name).max() == pytest.approx(1.0)
    for name in shapes.DEMAND_SHAPES:
        assert shapes.demand_shape(name).mean() == pytest.approx(1.0)
    assert int(shapes.radio_shape("night").argmax()) // 60 == 21
    assert 9 <= int(shapes.demand_shape("work").argmax()) // 60 <= 15
    with pytest.raises(ConfigurationError, match="'lunch'"):
        shapes.radio_shape("lunch")


def test_load_that_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 rows"):
        shapes.fit_load(np.arange(3.0), np.ones(3), 2.0)


def test_tokyo_to_osaka_and_back_takes_about_six_milliseconds() -> None:
    km = path.distance_km(35.68, 139.77, 34.69, 135.50)
    assert km == pytest.approx(403, abs=3)
    hop = path.one_way_ms(km, 2, 0.05, 4.9, 1.5)
    assert hop == pytest.approx(0.1 + 403 * 1.5 * 0.0049, rel=0.01)
    assert path.round_trip_ms(10.0, hop, 0.0) == pytest.approx(10 + 2 * hop)


def test_a_hub_link_is_noise_until_it_is_nearly_full() -> None:
    assert path.link_wait_ms(0.5, 10.0) < 0.05
    assert path.link_wait_ms(0.97, 10.0) > 10 * path.link_wait_ms(0.5, 10.0)
    assert path.link_wait_ms(5.0, 10.0) == path.link_wait_ms(path.BUSIEST, 10.0)
    assert path.transfer_ms(125_000.0, 0.5, 1.0) == pytest.approx(2.0)
    assert path.link_load(0.4, 1e6, 100.0, 10.0) == pytest.approx(0.48)


def test_power_is_idle_plus_slope_times_use() -> None:
    device = known("l4")
    assert float(money.power_w(device, 2.0, 0.0)) == 2 * device.idle_w
    assert float(money.power_w(device, 2.0, 1.0)) == 2 * device.peak_w
    assert money.energy_kwh(1000.0, 24.0, 1.5) == pytest.approx(36.0)


def test_both_readings_of_the_same_country() -> None:
    whole = money.whole_site(
        MONEY,
        capital_usd=50_000.0,
        kwh_a_day=20.0,
        revenue_usd_a_day=40.0,
        tokens_a_day=1e8,
        customers=100.0,
    )
    added = money.marginal(
        MONEY,
        capital_usd=50_000.0,
        radio_towers=1.0,
        kwh_a_day=20.0,
        kwh_a_day_radio_only=8.0,
        revenue_usd_a_day=40.0,
        tokens_a_day=1e8,
    )
    assert whole.capital_a_year_usd == pytest.approx(50_000 * 0.3)
    assert added.capital_usd == 40_000.0
    assert added.energy_usd == pytest.approx(12 * 365.25 * 0.2)
    assert whole.revenue_per_capital == pytest.approx(40 * 365.25 * 5 / 50_000)
    assert added.revenue_per_capital > whole.revenue_per_capital
    assert whole.radio_revenue_usd == 20_000.0
    assert whole.return_on_capital > added.return_on_capital
    assert whole.cost_per_mtok_usd == pytest.approx(whole.cost_usd / (1e8 * 365.25) * 1e6)
    assert whole.lines("whole_site")["whole_site:capital_usd"] == 50_000.0
    assert money.request_value_usd(1000, 100, (0.1, 0.4)) == pytest.approx(1.4e-4)
