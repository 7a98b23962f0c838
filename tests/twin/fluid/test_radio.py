"""The radio's minute of many sites is that of each site alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.control.policy import Policy
from aigrid.twin.fluid import caution, chance, radio
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.fluid.radio_kernels import LOG_OFFSET
from aigrid.twin.models.slot_kernels import miss_at
from aigrid.twin.policies import plan_of


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Sites that share in time and in space, of enough compute and of too little."""
    ground = ground_of(small.country(), plan_of("aigrid"), Policy())
    rng = np.random.default_rng(5)
    rows = len(ground.network)
    part = rng.choice([0.2, 0.6, np.nan], rows)
    return replace(ground, preemption=part, compute=ground.compute * rng.uniform(0.2, 1.2, rows))


@pytest.fixture(scope="module")
def tables(ground: Ground) -> radio.RadioTables:
    return radio.tables_of(ground.country, 2000)


def test_a_minute_is_that_of_each_site(ground: Ground, tables: radio.RadioTables) -> None:
    rows = len(ground.network)
    state, share = radio.at_rest(rows), np.random.default_rng(1).choice([0.0, 0.4, 0.9], rows)
    start = chance.key(1, chance.RADIO, 0)
    sums = radio.minute_of_radio(ground, tables, state, share, 700, start, 0.9, slice(0, rows))
    fixed, per_load, burstiness = tables.numbers[:3]
    used, missed = np.zeros(rows), np.zeros(rows)
    for row in np.flatnonzero(ground.has_radio):
        n, whole, part = ground.network.cells[row], ground.compute[row], ground.preemption[row]
        load = float(chance.exponential(np.float32(state.seen[row] - LOG_OFFSET)))
        kept = whole * (1.0 - share[row])
        if part < 1.0:
            kept = whole * (1.0 - part) if share[row] > 0.0 else whole
        missed[row] = miss_at(tables.need.survival, n, load, kept, fixed, per_load, burstiness)
        used[row] = min(n * (fixed + per_load * load), whole)
    made_way = ground.has_radio & (ground.preemption < 1.0)
    given = np.where(made_way, np.minimum(share, 1.0 - used / ground.compute), share)
    assert state.miss == pytest.approx(missed, abs=1e-5)
    assert state.used_sum == pytest.approx(used, rel=1e-5)
    assert state.given == pytest.approx(given, abs=1e-5)
    assert sums == pytest.approx((used.sum(), missed.sum()))
    assert (missed == 0.0).any()
    assert (missed == 1.0).any()
    assert ((missed > 0.0) & (missed < 1.0)).any()


def test_a_minute_does_not_depend_on_how_rows_are_cut(
    ground: Ground, tables: radio.RadioTables
) -> None:
    rows, start = len(ground.network), chance.key(1, chance.RADIO, 0)
    share = np.full(rows, 0.5)
    whole, cut = radio.at_rest(rows), radio.at_rest(rows)
    radio.minute_of_radio(ground, tables, whole, share, 700, start, 0.9, slice(0, rows))
    for part in (slice(0, 13), slice(13, rows)):
        radio.minute_of_radio(ground, tables, cut, share, 700, start, 0.9, part)
    for name in ("deviation", "seen", "given", "miss", "miss_sum", "used_sum"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name)), name


def test_the_least_share_is_that_of_the_highest_load_at_which_a_site_is_open(
    ground: Ground, tables: radio.RadioTables
) -> None:
    rows, margin = len(ground.network), 0.05
    rng = np.random.default_rng(2)
    forecast, share = LOG_OFFSET - rng.exponential(1.0, rows), rng.choice([0.0, 0.3, 0.9], rows)
    found = radio.least_share(ground, tables, forecast, margin, share, slice(0, rows))
    slot, sustained = tables.caution.slot, tables.caution.sustained
    for row in range(rows):
        n, whole, part = ground.network.cells[row], ground.compute[row], ground.preemption[row]
        at = caution.at_median(forecast[row] - LOG_OFFSET)
        if part < 1.0:
            while at > 0 and slot[n, at] > whole * (1.0 - part):
                at -= 1
        need = sustained[n, at] if part < 1.0 else slot[n, at]
        least = max(1.0 - need / whole - margin, 0.0)
        expected = min(share[row], least) if n > 0 else share[row]
        assert found[row] == expected, row
