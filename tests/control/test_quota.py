"""Token buckets: never more than the quota, never less for who waits."""

import math

from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import quota

RATE = st.integers(1, 10_000)
STEPS = st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 50.0)), min_size=1, max_size=25)


@given(RATE, STEPS)
def test_what_is_taken_is_never_more_than_the_burst_and_what_flowed_in(
    per_min: int, steps: list[tuple[float, float]]
) -> None:
    bucket, now_s, taken, largest = quota.full(per_min, 0.0), 0.0, 0.0, 0.0
    for pause_s, amount in steps:
        now_s += pause_s
        if quota.take(bucket, per_min, amount, now_s) == 0.0:
            taken += amount
            largest = max(largest, amount)
    allowed = per_min * (1.0 + now_s / 60.0) + max(0.0, largest - per_min)
    assert taken <= allowed * (1.0 + 1e-9) + 1e-6


@given(RATE, STEPS)
def test_who_waits_as_told_is_let_through(per_min: int, steps: list[tuple[float, float]]) -> None:
    bucket, now_s = quota.full(per_min, 0.0), 0.0
    for pause_s, amount in steps:
        now_s += pause_s
        wait_s = quota.take(bucket, per_min, amount, now_s)
        if wait_s > 0.0:
            now_s += wait_s * (1.0 + 1e-9) + 1e-6
            assert quota.take(bucket, per_min, amount, now_s) == 0.0


@given(RATE, st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_correction_leaves_what_was_used(per_min: int, taken: float, used: float) -> None:
    bucket = quota.Bucket(float(per_min), 0.0)
    if quota.take(bucket, per_min, taken, 0.0) == 0.0:
        quota.correct(bucket, per_min, taken, used)
        assert math.isclose(bucket.level, min(per_min, per_min - used), abs_tol=1e-6)


def test_nothing_flows_where_the_quota_is_nothing_or_the_clock_goes_back() -> None:
    assert quota.take(quota.full(0, 0.0), 0, 1.0, 1e9) == math.inf
    bucket = quota.full(60, 100.0)
    assert quota.take(bucket, 60, 60, 100.0) == 0.0
    assert quota.take(bucket, 60, 1, 0.0) == 1.0
    assert quota.take(bucket, 60, 1, 101.0) == 0.0
