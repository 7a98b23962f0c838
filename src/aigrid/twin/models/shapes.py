"""Daily shapes of radio load and of AI demand, and what load does around them.

Radio: the shapes of `radio.profile`, and one for places of the night. AI: conversations follow
waking hours, work follows office hours (Stojkovic et al., "DynamoLLM", HPCA 2025, section 3, shows
both for a week of a provider's traffic: work falls to a few percent at night and at week-ends,
conversations do not); roads and plants follow people and shifts; cameras never stop. The numbers
are rounded by hand: assumptions to vary.

Around its shape the logarithm of load is an AR(1) process. `fit_load` fits it; SPREAD and MEMORY
are its fit of one LTE cell in Barcelona (El Born, March 2018, 4,192 rows of 2 minutes; Perifanis et
al., "Federated Learning for 5G Base Station Traffic Forecasting", 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.radio.profile import DAILY_SHAPES

Floats = NDArray[np.float64]
MINUTES = 1440
SPREAD = 0.87
MEMORY = 0.965

_RADIO: dict[str, tuple[tuple[float, float], ...]] = {
    **DAILY_SHAPES,
    # Entertainment areas: the fourth pattern of Wang et al., IMC 2015, peaks in the late evening.
    "night": ((0, 0.7), (2, 0.35), (6, 0.08), (11, 0.35), (14, 0.5), (18, 0.8), (21, 1.0)),
}
_DEMAND: dict[str, tuple[tuple[float, float], ...]] = {
    "conversation": ((0, 0.55), (4, 0.2), (8, 0.6), (11, 0.9), (15, 0.9), (18, 0.85), (21, 1.0)),
    "work": ((0, 0.08), (5, 0.05), (8, 0.4), (10, 1.0), (12.5, 0.75), (15, 1.0), (19, 0.3)),
    "roads": ((0, 0.2), (4, 0.1), (8, 1.0), (12, 0.7), (17.5, 1.0), (21, 0.45)),
    "plant": ((0, 0.6), (5.5, 0.6), (6.5, 1.0), (21.5, 1.0), (22.5, 0.6)),
    "steady": ((0, 1.0),),
}
RADIO_SHAPES = tuple(_RADIO)
DEMAND_SHAPES = tuple(_DEMAND)


def radio_shape(name: str, minutes: int = MINUTES) -> Floats:
    """Share of the busiest hour's load at each minute of the day: (minutes,), largest 1.

    Raises:
        ConfigurationError: no such shape.
    """
    shape = _by_minute(name, _RADIO, minutes)
    shape /= shape.max()
    return shape


def demand_shape(name: str, minutes: int = MINUTES) -> Floats:
    """Requests of each minute of the day over those of a mean minute: (minutes,), mean 1.

    Radio shapes count too: a service may be wanted where and when people use the radio.

    Raises:
        ConfigurationError: no such shape.
    """
    shape = _by_minute(name, {**_RADIO, **_DEMAND}, minutes)
    shape /= shape.mean()
    return shape


def _by_minute(
    name: str, shapes: dict[str, tuple[tuple[float, float], ...]], minutes: int
) -> Floats:
    if name not in shapes:
        raise ConfigurationError(
            f"daily shape {name!r} is not known", next_step=f"use one of {', '.join(shapes)}"
        )
    hours, shares = zip(*shapes[name], strict=True)
    hour = np.arange(minutes) * 24.0 / minutes
    by_minute: Floats = np.interp(hour, hours, shares, period=24.0)
    return by_minute


@dataclass(frozen=True, slots=True)
class LoadFit:
    """An AR(1) process of log load around a daily shape.

    Attributes:
        shape: (bins,) mean of log load by time of day.
        spread: standard deviation of log load around it.
        memory: correlation of that deviation from one minute to the next.
        memory_half_hour: from one half hour to the next, as observed. AR(1) would have
            memory ** 30: what is observed above that is slower than this process.
    """

    shape: Floats
    spread: float
    memory: float
    memory_half_hour: float


def fit_load(minute_of_day: Floats, load: Floats, row_min: float, bins: int = 48) -> LoadFit:
    """Fit `LoadFit` to rows in order of time, one every `row_min` minutes.

    Spread is the standard deviation of what the mean of each time of day leaves. The correlation
    of neighbouring rows is memory ** row_min in an AR(1) process, so memory is its root.

    Args:
        minute_of_day: (rows,) 0 to 1440.
        load: (rows,) above 0.
        row_min: minutes between two rows.
        bins: times of day that are told apart.

    Raises:
        ConfigurationError: rows that are too few, or a load that is not above 0.
    """
    if len(load) < 2 * bins or not np.all(load > 0.0):
        raise ConfigurationError(
            f"load to fit: {len(load)} rows, smallest {load.min() if len(load) else None}",
            next_step=f"give {2 * bins} rows or more, each above 0",
        )
    column = (np.asarray(minute_of_day) * bins / MINUTES).astype(np.int64) % bins
    logs = np.log(load)
    count = np.maximum(np.bincount(column, minlength=bins), 1)
    shape = np.bincount(column, logs, bins) / count
    rest = logs - shape[column]
    half_hour = max(round(30.0 / row_min), 1)
    return LoadFit(
        shape,
        float(rest.std()),
        float(max(_correlation(rest, 1), 0.0) ** (1.0 / row_min)),
        _correlation(rest, half_hour),
    )


def _correlation(values: Floats, lag: int) -> float:
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


def next_deviation(deviation: Floats, memory: float, normal: Floats) -> Floats:
    """One minute of the AR(1) process, in standard deviations: mean 0 and variance 1 for ever."""
    following: Floats = memory * deviation + np.sqrt(1.0 - memory * memory) * normal
    return following


def load_factor(deviation: Floats, spread: float) -> Floats:
    """What multiplies the shape's load: exp(spread * z - spread^2 / 2), whose mean is 1."""
    factor: Floats = np.exp(spread * deviation - 0.5 * spread * spread)
    return factor
