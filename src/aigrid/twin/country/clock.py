"""Times as people write them: a moment, or a time of day."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# 2026-03-01 08:15, 2026-03-01T08:15:00.25Z, 2026-03-01 08:15:00+00:00; 08:15 or 08:15:30.
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?:Z|[+-]\d\d:?\d\d)?"
)
_OF_DAY = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?")


def seconds_of(texts: Sequence[str]) -> tuple[NDArray[np.float64], list[int]]:
    """Seconds of each text, local as it is written, and which of them are no times.

    A moment counts from midnight of the first day of the year 2000, a time of day from midnight:
    modulo 86,400 s both give the time of day. A zone behind it is dropped: demand follows the
    clock on the wall.

    Returns:
        (texts,) float64, NaN where it is no time; and the indices of those.
    """
    normal: list[str] = []
    wrong: list[int] = []
    for at, text in enumerate(texts):
        moment = _MOMENT.fullmatch(text)
        if moment:
            normal.append(f"{moment[1]}T{moment[2]}")
        elif _OF_DAY.fullmatch(text):
            normal.append(f"2000-01-01T{text}")
        else:
            normal.append("NaT")
            wrong.append(at)
    try:
        moments = np.array(normal, "datetime64[ns]")
    except ValueError:  # 2026-02-30, 25:00: find which
        moments = np.array([_moment(text) for text in normal], "datetime64[ns]")
        wrong = [at for at, moment in enumerate(moments) if np.isnat(moment)]
    passed = moments - np.datetime64("2000-01-01T00:00:00", "ns")
    seconds = passed.astype(np.int64) / 1e9
    seconds[wrong] = np.nan
    return seconds, wrong


def _moment(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "ns")
    except ValueError:
        return np.datetime64("NaT", "ns")


def of_day(seconds: float) -> str:
    """Time of day, `08:15`."""
    minutes = round(seconds / 60.0) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
