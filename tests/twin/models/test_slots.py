import numpy as np
import pytest
from scipy.stats import binom

from aigrid.core.errors import ConfigurationError
from aigrid.radio.profile import next_busy, scheduled_prbs
from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.models.slot_kernels import mean_need, miss, miss_at, quantile_need
from aigrid.twin.models.slots import independent_slots, need_table, site_compute_for_radio

RADIO = RadioModel(
    slot_ms=0.5,
    deadline_ms=1.0,
    fixed=0.02,
    per_load=0.1,
    burstiness=0.8,
    spread=0.5,
    memory=0.9,
    headroom=0.1,
)
SHAPE = (RADIO.fixed, RADIO.per_load, RADIO.burstiness)


def drawn_needs(cells: int, load: float, slots: int) -> np.ndarray:
    """Needs of a site drawn slot by slot with the radio's own mixture."""
    rng = np.random.default_rng(1)
    total = 1000
    busy = rng.random((slots, cells)) < load
    prbs = {
        state: scheduled_prbs(state, load, RADIO.burstiness, total, 0.5) for state in (True, False)
    }
    filled = np.where(busy, prbs[True], prbs[False]) / total
    return (RADIO.fixed + RADIO.per_load * filled).sum(axis=1)


def test_the_formula_is_that_of_slots_drawn_one_by_one() -> None:
    needs = drawn_needs(6, 0.3, 200_000)
    assert mean_need(6, 0.3, RADIO.fixed, RADIO.per_load) == pytest.approx(needs.mean(), rel=0.002)
    compute = 0.12 + 6 * 0.1 * 0.3 * 0.2 + 3.5 * 0.1 * 0.8
    assert miss(6, 0.3, compute, *SHAPE) == pytest.approx((needs > compute).mean(), rel=0.03)


def test_a_site_with_all_it_was_sized_for_never_misses() -> None:
    size = float(site_compute_for_radio(RADIO, 6))
    assert size == pytest.approx(6 * 0.12 * 1.1)
    assert miss(6, 1.0, 6 * 0.12, *SHAPE) == 0.0
    assert miss(6, 0.5, 0.0, *SHAPE) == 1.0


def test_the_quantile_holds_its_promise_and_costs_relatively_less_with_more_cells() -> None:
    table = need_table(RADIO, 24, 64)
    for cells in (1, 3, 12, 24):
        need = quantile_need(table.busy, cells, 0.31, *SHAPE)
        assert miss(cells, 0.31, need, *SHAPE) <= table.probability
    above = table.quantile[:, 20] / np.maximum(table.mean[:, 20], 1e-12)
    assert above[24] < above[12] < above[3]


def test_the_table_is_near_the_exact_tail_and_errs_towards_missing() -> None:
    table = need_table(RADIO, 8, 512)
    for load in (0.07, 0.333, 0.61):
        for compute in (0.3, 0.45, 0.6, 0.7):
            exact = miss(8, load, compute, *SHAPE)
            looked_up = miss_at(table.survival, 8, load, compute, *SHAPE)
            assert looked_up == pytest.approx(exact, rel=0.02, abs=1e-5)
    assert table.survival[8, 256, 5] == pytest.approx(float(binom.sf(5, 8, 0.5)), rel=1e-9)


def test_a_guard_period_needs_less_than_its_worst_slot() -> None:
    table = need_table(RADIO, 6, 64, guard_slots=2000)
    assert np.all(table.sustained <= table.quantile + 1e-12)
    assert np.all(table.sustained >= table.mean - 1e-3)
    assert table.sustained[6, 20] < 0.8 * table.quantile[6, 20]


def test_correlated_slots_count_as_the_chain_says() -> None:
    rng = np.random.default_rng(3)
    means = []
    for _ in range(400):
        busy, seen = bool(rng.random() < 0.4), 0
        for chance in rng.random(200).tolist():
            busy = next_busy(busy, 0.4, 0.5, chance)
            seen += busy
        means.append(seen / 200)
    expected = 0.4 * 0.6 / independent_slots(200, 0.5)
    assert np.var(means) == pytest.approx(expected, rel=0.2)
    assert independent_slots(1, 0.5) == 1.0


@pytest.mark.parametrize("wrong", [{"cells_max": 0}, {"load_bins": 0}, {"probability": 0.0}])
def test_an_impossible_table_is_refused(wrong: dict[str, float]) -> None:
    given = {"cells_max": 3, "load_bins": 8, "probability": 1e-5} | wrong
    with pytest.raises(ConfigurationError, match="need table"):
        need_table(
            RADIO,
            int(given["cells_max"]),
            int(given["load_bins"]),
            probability=float(given["probability"]),
        )
