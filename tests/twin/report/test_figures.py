"""How figures are spelt, and which of them is the best."""

import math

import numpy as np
import pytest
from tests.twin.report.made_up import country

from aigrid.twin.outcome import FIGURES
from aigrid.twin.report import maps
from aigrid.twin.report.charts import thinned
from aigrid.twin.report.doubt import doubt
from aigrid.twin.report.figures import COLUMNS, best, count, ms, mwh, rate, share, simulated, usd
from aigrid.twin.report.scales import Axis, decades, nice_ticks
from aigrid.twin.report.words import MEANINGS


@pytest.mark.parametrize(
    ("spelt", "text"),
    [
        (rate(0.0), "0"),
        (rate(9.96e-6), "10⁻⁵"),
        (rate(3.24e-6), "3.2×10⁻⁶"),
        (rate(0.0123), "1.2%"),
        (share(0.99991), "99.991%"),
        (share(1.0), "100.0%"),
        (share(78.482), "7,848%"),
        (count(950), "950"),
        (count(12_345), "12.3k"),
        (count(4_560_000), "4.56M"),
        (count(2.5e13), "25.0tn"),
        (ms(7.25), "7.2"),
        (ms(12_345), "12,345"),
        (mwh(1_234_567), "1,235"),
        (mwh(43), "0.043"),
        (simulated(1440), "24 h"),
        (simulated(60), "60 min"),
        (usd(0.416), "$0.42"),
        (usd(-2e6), "-$2.00M"),
        (usd(math.inf), "–"),
        (ms(math.nan), "–"),
    ],
)
def test_spelling(spelt: str, text: str) -> None:
    assert spelt == text


def test_every_figure_has_a_column_and_a_meaning() -> None:
    assert sorted(figure.name for figure in COLUMNS) == sorted(FIGURES)
    assert set(MEANINGS) == set(FIGURES)


def test_best_is_the_better_way_and_what_looks_alike_is_alike() -> None:
    missed, level = COLUMNS[0], COLUMNS[1]
    assert best(missed, [2e-6, 4e-4]) == {0}
    assert best(level, [0.9, 0.95, 0.95001]) == {1, 2}
    assert best(level, [0.95, 0.95001]) == set()
    assert best(level, [0.9, math.nan, 0.8]) == {0}
    assert best(COLUMNS[3], [0.1, 0.2]) == set()


def test_axes() -> None:
    assert nice_ticks(0.73) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert nice_ticks(0.0) == [0.0, 1.0]
    assert decades(30, 2000) == [10, 100, 1000, 10_000]
    assert Axis(10, 1000, 0, 100, is_log=True).at(100) == pytest.approx(50)
    assert Axis(0, 1, 0, 100).at(7) == 100


def test_means_over_a_day_keep_its_mean() -> None:
    values = np.arange(1440.0)
    hours, means = thinned(values, 1440)
    assert len(means) == 288
    assert means.mean() == pytest.approx(values.mean())
    assert hours[-1] < 24.0
    assert len(thinned(np.arange(7.0), 7, 5)[1]) == 4


def test_bubbles_do_not_cover_one_another() -> None:
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(34, 36, 40), rng.uniform(135, 140, 40)
    weight = rng.lognormal(0, 1, 40)
    drawn = maps.bubbles(latitude, longitude, weight)
    far = np.hypot(drawn.x[:, None] - drawn.x, drawn.y[:, None] - drawn.y)
    room = drawn.radius[:, None] + drawn.radius
    np.fill_diagonal(far, np.inf)
    assert (far - room).min() > -2.0
    assert (drawn.x - drawn.radius).min() > 0
    assert (drawn.x + drawn.radius).max() <= drawn.width
    assert drawn.height >= (drawn.y + drawn.radius).max()


def test_two_regions_at_one_point_part() -> None:
    here = np.array([35.0, 35.0])
    drawn = maps.bubbles(here, here + 100.0, np.ones(2))
    assert np.isfinite(drawn.x).all()
    assert math.dist((drawn.x[0], drawn.y[0]), (drawn.x[1], drawn.y[1])) > drawn.radius[0]


def test_colours() -> None:
    assert maps.steps(np.array([0.0, 0.5, 1.0, np.nan]), 0.0, 1.0) == [0, 3, 6, -1]
    assert maps.steps(np.array([3.0, 3.0]), 3.0, 3.0) == [0, 0]


def test_distance_matters_less_the_longer_the_prompt_and_the_larger_the_model() -> None:
    case = doubt(country())
    assert case is not None
    assert 100 < case.km < 800
    for row in case.part:
        parts = [part for part in row if part is not None]
        assert parts == sorted(parts, reverse=True)
    assert case.part[0][0] > 0.8 > 0.1 > case.part[-1][3]
    assert case.part[-1][-1] is None, "70 B and the cache of 32,768 tokens do not fit either"
    assert case.gain_ms[-1][0] is None, "70 B do not fit into the tower's 24 GB"
    assert case.gain_ms[0][0] > 0 > case.gain_ms[3][-1]
