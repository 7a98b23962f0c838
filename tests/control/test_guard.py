import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import guard
from aigrid.control.policy import Policy

POLICY = Policy()
share = st.floats(0.0, 1.0)
need = st.floats(0.0, 20.0)
cores = st.floats(0.1, 16.0)
elapsed = st.floats(0.0, 100.0)


def shares(need_cores, compute_cores, missed, before, elapsed_s, has_radio=True):
    one = guard.shares(
        POLICY,
        np.array([need_cores]),
        np.array([compute_cores]),
        np.array([has_radio]),
        np.array([missed]),
        np.array([before]),
        np.array([elapsed_s]),
    )
    return float(one[0])


@given(need, cores, st.booleans(), share, elapsed)
def test_the_radio_is_never_left_short(need_cores, compute_cores, missed, before, elapsed_s):
    after = shares(need_cores, compute_cores, missed, before, elapsed_s)
    assert 0.0 <= after <= 1.0
    if after > 0.0:
        assert after * compute_cores + need_cores <= compute_cores + 1e-9


@given(need, need, cores, st.booleans(), share, elapsed)
def test_more_need_never_gives_a_larger_share(a, b, compute_cores, missed, before, elapsed_s):
    low, high = sorted((a, b))
    larger = shares(low, compute_cores, missed, before, elapsed_s)
    assert shares(high, compute_cores, missed, before, elapsed_s) <= larger


@given(need, cores, st.booleans(), share, elapsed)
def test_a_share_rises_no_faster_than_allowed(need_cores, compute_cores, missed, before, elapsed_s):
    after = shares(need_cores, compute_cores, missed, before, elapsed_s)
    assert after <= before + POLICY.guard_rise_per_s * elapsed_s + 1e-9


@given(cores, st.booleans(), share, elapsed)
def test_nothing_is_left_where_the_radio_needs_all(compute_cores, missed, before, elapsed_s):
    assert shares(compute_cores, compute_cores, missed, before, elapsed_s) == 0.0


@given(need, cores, share, elapsed)
def test_misses_cut_a_share(need_cores, compute_cores, before, elapsed_s):
    after = shares(need_cores, compute_cores, True, before, elapsed_s)
    assert after <= before * POLICY.guard_miss_factor


def test_a_site_without_radio_gives_ai_everything():
    assert shares(0.0, 2.0, False, 0.3, 0.0, has_radio=False) == 1.0


def test_200_000_rows_at_once_are_what_each_row_alone_is():
    rng = np.random.default_rng(5)
    count = 200_000
    columns = (
        rng.uniform(0, 4, count),
        rng.uniform(0.5, 4, count),
        rng.random(count) < 0.8,
        rng.random(count) < 0.1,
        rng.random(count),
        rng.uniform(0, 2, count),
    )
    together = guard.shares(POLICY, *columns)
    assert together.shape == (count,)
    for row in range(0, count, 997):
        alone = guard.shares(POLICY, *(column[row : row + 1] for column in columns))
        assert alone[0] == together[row]


@given(need, cores, st.booleans(), share, elapsed)
def test_a_site_where_slots_would_be_late_while_ai_runs_gives_ai_nothing(
    need_cores, compute_cores, missed, before, elapsed_s
):
    one = [np.array([value]) for value in (need_cores, compute_cores, True, missed, before)]
    after = guard.shares(POLICY, *one, np.array([elapsed_s]), np.array([True]))
    assert after[0] == 0.0


def test_ai_must_be_off_where_making_way_takes_too_long_for_the_slot():
    slot = np.array([0.9, 0.7, 0.9, 0.9])
    part = np.array([0.2, 0.2, np.nan, 1.0])  # the last two share in space
    assert guard.blocked(slot, np.ones(4), part).tolist() == [True, False, False, False]


@given(need, cores, share)
def test_notice_is_given_of_shares_that_must_fall_and_of_nothing_else(
    need_ahead, compute_cores, before
):
    told = guard.notice(POLICY, *(np.array([v]) for v in (need_ahead, compute_cores, before)))[0]
    fits = guard.room(POLICY, np.array([need_ahead]), np.array([compute_cores]))[0]
    assert told == 1.0 or told <= before - POLICY.guard_step
    assert told == 1.0 or told <= fits
    assert told < 1.0 or before - fits < max(POLICY.guard_step, POLICY.guard_floor) + 1e-9
