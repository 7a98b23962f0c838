"""Money in integers: prices in millionths a million tokens, amounts in millionths.

Tokens times price is an amount in millionths of a millionth (`pico`), without any rounding. It is
rounded once, half up, where a line of an invoice is written; and once more, half up, where a total
becomes an amount to pay in the currency's smallest unit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from aigrid.core.tenancy import MICRO

# Digits behind the point of what is paid (ISO 4217:2015, table A.1); 2 for all others.
_DIGITS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "JOD": 3, "KWD": 3, "TND": 3}


def price_micro(per_mtok: float) -> int:
    """A package's price a million tokens in millionths, half up.

    A price is a decimal that a person wrote; its shortest spelling is what was meant.
    """
    return int((Decimal(repr(float(per_mtok))) * MICRO).quantize(Decimal(1), ROUND_HALF_UP))


def pico(prompt_tokens: int, completion_tokens: int, input_micro: int, output_micro: int) -> int:
    """What tokens cost, exactly."""
    return prompt_tokens * input_micro + completion_tokens * output_micro


def rounded(amount: int, divisor: int) -> int:
    """An amount of 0 or more divided, half up."""
    return (2 * amount + divisor) // (2 * divisor)


def micro(amount_pico: int) -> int:
    """Millionths, half up."""
    return rounded(amount_pico, MICRO)


def payable(amount_micro: int, currency: str) -> str:
    """What is paid, in the currency's smallest unit, half up."""
    digits = _DIGITS.get(currency, 2)
    unit = Decimal(1).scaleb(-digits)
    return str((Decimal(amount_micro) / MICRO).quantize(unit, ROUND_HALF_UP))
