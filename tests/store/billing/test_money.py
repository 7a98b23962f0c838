"""Money and months: exact integers, one rounding rule."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.core.errors import InvalidRequestError
from aigrid.store.billing import money, months

AMOUNT = st.integers(0, 10**24)


@pytest.mark.parametrize(
    ("per_mtok", "micro"),
    [(0.15, 150_000), (0.1 + 0.2, 300_000), (15.0, 15_000_000), (1e-7, 0), (5e-7, 1), (0.0, 0)],
)
def test_price_is_the_decimal_that_was_written(per_mtok: float, micro: int) -> None:
    assert money.price_micro(per_mtok) == micro


@given(AMOUNT)
def test_rounding_is_half_up(pico: int) -> None:
    exact = Decimal(pico).scaleb(-6)
    assert money.micro(pico) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20))
def test_order_and_grouping_change_nothing(used: list[tuple[int, int]]) -> None:
    one_by_one = sum(money.pico(p, c, 150_000, 600_000) for p, c in used)
    together = money.pico(sum(p for p, _ in used), sum(c for _, c in used), 150_000, 600_000)
    assert one_by_one == together


@pytest.mark.parametrize(
    ("micro", "currency", "due"),
    [
        (1_005_000, "USD", "1.01"),
        (1_004_999, "USD", "1.00"),
        (1_500_000, "JPY", "2"),
        (499_999, "JPY", "0"),
        (1_234_500, "KWD", "1.235"),
        (0, "EUR", "0.00"),
    ],
)
def test_what_is_paid_is_in_the_smallest_unit(micro: int, currency: str, due: str) -> None:
    assert money.payable(micro, currency) == due


def test_months_meet_at_midnight_utc() -> None:
    for month, after in [("2026-11", "2026-12"), ("2026-12", "2027-01"), ("2028-02", "2028-03")]:
        assert months.bounds_ms(month)[1] == months.bounds_ms(after)[0]
    begin, end = months.bounds_ms("2028-02")
    assert end - begin == 29 * 86_400_000
    assert months.month_of(begin / 1000) == "2028-02"
    assert months.month_of((begin - 1) / 1000) == "2028-01"


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "0000-01", "9999-12", "x"])
def test_odd_months_are_refused(month: str) -> None:
    with pytest.raises(InvalidRequestError):
        months.bounds_ms(month)
