"""Months: from midnight UTC on the first to midnight UTC on the next first."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from aigrid.core.errors import InvalidRequestError

_PATTERN = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def bounds_ms(month: str) -> tuple[int, int]:
    """Beginning and end of a month, in Unix milliseconds; the end is the next one's beginning.

    Args:
        month: `YYYY-MM`.

    Raises:
        InvalidRequestError: not a month.
    """
    if not _PATTERN.fullmatch(month) or not "1970" <= month[:4] <= "9998":
        raise InvalidRequestError(f"month {month!r}", next_step="write YYYY-MM, e.g. 2026-11")
    year, number = int(month[:4]), int(month[5:])
    begin = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000


def month_of(at_s: float) -> str:
    """The month that a moment lies in."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m")
