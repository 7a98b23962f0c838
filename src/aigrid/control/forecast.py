"""What will be needed next: a profile by time of day, corrected by what was seen last.

A day is cut into bins. Each row (a site, or an origin and a service) learns mean and spread of
every bin with exponential forgetting. A forecast is the mean at the time asked for, plus what is
left by then of the present deviation (an autoregression of order 1; Box and Jenkins, 'Time Series
Analysis', ch. 5), plus z standard deviations of what cannot be known yet.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.core.state import FloatColumn

DAY_MIN = 1440.0
BINS = 96
# What is left of a deviation after a minute. Ten minutes later a third is left.
MEMORY_PER_MIN = 0.9
# What is left of a day's level after a minute: a busy day stays busy, half of it for two hours.
LEVEL_MEMORY_PER_MIN = 0.995
LEVEL_LIMIT = 4.0

Bins = NDArray[np.float32]


class DailyProfile(NamedTuple):
    """Mean and spread by time of day.

    Attributes:
        mean: (rows, bins) float32; column-wise in memory, since one bin is read at a time.
        spread: (rows, bins) float32, standard deviation around the mean, likewise.
        seen: (bins,) float32, how many values each bin has learned from; 0 means it knows nothing.
    """

    mean: Bins
    spread: Bins
    seen: Bins


def empty(rows: int, bins: int = BINS) -> DailyProfile:
    """A profile that knows nothing and forecasts that things stay as they are."""
    return DailyProfile(
        np.zeros((rows, bins), np.float32, order="F"),
        np.zeros((rows, bins), np.float32, order="F"),
        np.zeros(bins, np.float32),
    )


def grown(profile: DailyProfile, rows: int) -> DailyProfile:
    """The profile with more rows at its end, which know nothing whatever the others have seen."""
    new = empty(rows, len(profile.seen))
    for old, wide in ((profile.mean, new.mean), (profile.spread, new.spread)):
        wide[: len(old)] = old
    new.mean[len(profile.mean) :, profile.seen > 0.0] = np.nan
    new.seen[:] = profile.seen
    return new


def learn(profile: DailyProfile, at_min: float, value: FloatColumn, rate: float) -> None:
    """Learn what was seen, in place.

    The first values of a bin weigh alike; later ones enter with `rate`, older ones fade.

    Args:
        profile: to change.
        at_min: time of day, minutes; taken modulo a day.
        value: (rows,) what was seen.
        rate: weight of a new value, 0 to 1.
    """
    at = _bin(profile, at_min)
    weight = max(rate, 1.0 / (float(profile.seen[at]) + 1.0))
    _learn(profile.mean[:, at], profile.spread[:, at], np.asarray(value, np.float64), weight)
    profile.seen[at] += 1.0


def ahead(
    profile: DailyProfile,
    now_min: float,
    ahead_min: float,
    value: FloatColumn,
    z: float,
    memory_per_min: float = MEMORY_PER_MIN,
    *,
    smooth: bool = False,
) -> FloatColumn:
    """The value to reckon with, `ahead_min` from now.

    Bins that know nothing forecast the present value, with no spread.

    Args:
        profile: what was learned.
        now_min: present time of day, minutes.
        ahead_min: how far ahead, minutes.
        value: (rows,) seen now.
        z: standard deviations to add; 4.26 is the quantile 1 - 1e-5 of a normal distribution.
        memory_per_min: what is left of a deviation after a minute, 0 to below 1.
        smooth: whether the mean changes steadily, so that it lies on the line between the middles
            of two bins; else it steps at their edges, as a timetable does.

    Returns:
        (rows,) float64, 0 or more.
    """
    seen_now = np.asarray(value, np.float64)
    found: FloatColumn = np.empty(len(seen_now))
    look = look_ahead(profile, now_min, ahead_min, z, memory_per_min, smooth=smooth)
    ahead_of(*look, seen_now, found)
    return found


class Look(NamedTuple):
    """What a look ahead needs of a profile, for `ahead_of`.

    Attributes:
        here: (rows,) mean now; of the bin before.
        here_too: (rows,) of the bin after.
        part: how far now is from the one to the other.
        there: (rows,) mean at the time asked for, likewise.
        there_too: (rows,).
        part_there: of the time asked for.
        spread: (rows,) there.
        kept: what is left of a deviation by then.
        unknown: how many spreads to add; NaN where a bin knows nothing.
    """

    here: Bins
    here_too: Bins
    part: float
    there: Bins
    there_too: Bins
    part_there: float
    spread: Bins
    kept: float
    unknown: float


def look_ahead(
    profile: DailyProfile,
    now_min: float,
    ahead_min: float,
    z: float,
    memory_per_min: float = MEMORY_PER_MIN,
    *,
    smooth: bool = False,
) -> Look:
    """Prepare `ahead_of` once for many parts of the rows; arguments as in `ahead`."""
    here, there = _bin(profile, now_min), _bin(profile, now_min + ahead_min)
    knows = profile.seen[here] > 0.0 and profile.seen[there] > 0.0
    kept = memory_per_min**ahead_min
    return Look(
        *_between(profile, now_min, smooth),
        *_between(profile, now_min + ahead_min, smooth),
        profile.spread[:, there],
        kept,
        z * (1.0 - kept * kept) ** 0.5 if knows else math.nan,
    )


def demand_ahead(
    profile: DailyProfile,
    now_min: float,
    ahead_min: float,
    value: FloatColumn,
    memory_per_min: float = LEVEL_MEMORY_PER_MIN,
    *,
    smooth: bool = False,
    out: FloatColumn | None = None,
) -> FloatColumn:
    """Demand to expect, `ahead_min` from now: the daily shape times the level of this day.

    Demand deviates in proportion, and a trend from day to day shows in the level first.

    Args:
        profile: what was learned.
        now_min: present time of day, minutes.
        ahead_min: how far ahead, minutes.
        value: (rows,) seen now.
        memory_per_min: what is left of a level after a minute, 0 to 1: that of a whole country's
            demand lasts, that of a single tower's is gone soon.
        smooth: as in `ahead`.
        out: (rows,) float64 to fill; None for a new one.

    Returns:
        (rows,) float64; the present value where the profile knows nothing.
    """
    here, there = _bin(profile, now_min), _bin(profile, now_min + ahead_min)
    seen_now = np.asarray(value, np.float64)
    expected: FloatColumn = np.empty(len(seen_now)) if out is None else out
    if profile.seen[here] == 0.0 or profile.seen[there] == 0.0:
        expected[:] = seen_now
        return expected
    _demand_ahead(
        *_between(profile, now_min, smooth),
        *_between(profile, now_min + ahead_min, smooth),
        seen_now,
        memory_per_min**ahead_min,
        expected,
    )
    return expected


def _bin(profile: DailyProfile, at_min: float) -> int:
    bins = len(profile.seen)
    return int(at_min % DAY_MIN * bins / DAY_MIN) % bins


def _between(profile: DailyProfile, at_min: float, smooth: bool) -> tuple[Bins, Bins, float]:
    """Means of the bins whose middles a time lies between, and how far it is from the first.

    Its own bin alone where the mean is not `smooth`, or the neighbour knows nothing.
    """
    bins, own = len(profile.seen), _bin(profile, at_min)
    place = at_min % DAY_MIN * bins / DAY_MIN - 0.5
    first = math.floor(place)
    one, other = first % bins, (first + 1) % bins
    part = place - first
    if not smooth or profile.seen[one] == 0.0 or profile.seen[other] == 0.0:
        one, other, part = own, own, 0.0
    return profile.mean[:, one], profile.mean[:, other], part


@njit(cache=True, nogil=True)
def _learn(mean, spread, value, weight):  # type: ignore[no-untyped-def]
    for row in range(len(value)):
        is_new = np.isnan(mean[row])
        usual = value[row] if is_new else np.float64(mean[row])
        wide = 0.0 if is_new else np.float64(spread[row])
        off = value[row] - usual
        variance = (1.0 - weight) * (wide * wide + weight * off * off)
        mean[row] = usual + weight * off
        spread[row] = np.sqrt(variance)


@njit(cache=True, nogil=True)
def _line(one, other, part):  # type: ignore[no-untyped-def]
    """Between two means; where only one is known, that."""
    if np.isnan(other):
        return one
    return other if np.isnan(one) else one + part * (other - one)


@njit(cache=True, nogil=True)
def ahead_of(  # type: ignore[no-untyped-def]
    here, here_too, part, there, there_too, part_there, spread, kept, unknown, value, found
):
    """Fill `found` with the values of `ahead`: columns of `Look`, and what is seen now."""
    for row in range(len(value)):
        now = _line(here[row], here_too[row], part)
        then = _line(there[row], there_too[row], part_there)
        guess = then + kept * (value[row] - now) + unknown * spread[row]
        found[row] = max(value[row] if np.isnan(guess) else guess, 0.0)


@njit(cache=True, nogil=True)
def _demand_ahead(  # type: ignore[no-untyped-def]
    here, here_too, part, there, there_too, part_there, value, kept, found
):
    for row in range(len(value)):
        usual = _line(here[row], here_too[row], part)
        then = _line(there[row], there_too[row], part_there)
        level = value[row] / usual if usual > 0.0 else 1.0
        guess = then * (1.0 + kept * (min(level, LEVEL_LIMIT) - 1.0))
        found[row] = guess if np.isfinite(guess) else value[row]


def ai_demand(running: FloatColumn, waiting: FloatColumn) -> FloatColumn:
    """Jobs that will want a place next, of the shape of its arguments: those that do now."""
    return running + waiting
