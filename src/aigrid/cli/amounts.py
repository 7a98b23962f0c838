"""Amounts of money on the command line: typed as decimals, kept as integers of a millionth."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import click

MICRO = 1_000_000
LIMIT_MICRO = 10**15


class Amount(click.ParamType[int]):
    """A decimal number of a currency, with at most 6 digits behind the point.

    Args:
        none: `none` means no limit (-1).
    """

    name = "amount"

    def __init__(self, *, none: bool = False) -> None:
        self._none = none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Millionths."""
        if isinstance(value, int):
            return value
        if self._none and value == "none":
            return -1
        try:
            micro = Decimal(value) * MICRO
        except InvalidOperation:
            self.fail(f"{value!r} is not an amount", param, ctx)
        if not micro.is_finite() or micro != micro.to_integral_value():
            self.fail(f"{value!r} has more than 6 digits behind the point", param, ctx)
        if not 0 <= micro <= LIMIT_MICRO:
            self.fail(f"{value!r} is not from 0 to {LIMIT_MICRO // MICRO}", param, ctx)
        return int(micro)


def shown_amount(micro: int, currency: str) -> str:
    """An amount for people: at least 2 digits behind the point, 6 at most, none of them rounded."""
    sign, micro = ("-" if micro < 0 else ""), abs(micro)
    whole, rest = divmod(micro, MICRO)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole:,}.{digits} {currency}"
