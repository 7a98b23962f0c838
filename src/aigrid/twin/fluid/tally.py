"""What a day adds up to, while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# By minute; shares are of all compute, rates a second.
SERIES = (
    "radio",
    "ai",
    "utilisation",
    "ai_work",
    "share_mean",
    "radio_miss",
    "requests_per_s",
    "tokens_per_s",
    "refused_per_s",
    "in_line",
    "link_load_max",
)


@dataclass(frozen=True, slots=True)
class Minute:
    """What came to sites in one minute, and how it fared: the day's own arrays, to read at once.

    Attributes:
        served: (S, N) requests.
        good: (S, N) float32 part of them that kept what was promised.
        over: (S, N) requests that a site handed up, or refused.
        load: (N,) offered over possible.
        paths: (S, U, P) part of the requests at each of the U sites above towers, by path bin.
    """

    served: Floats
    good: NDArray[np.float32]
    over: Floats
    load: Floats
    paths: NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """Sums over the minutes so far.

    Attributes:
        came: (S,) requests.
        served: (S,).
        refused: (S,).
        good: (S,) that kept what was promised.
        in_flight: (S,) at the end.
        busy_sum: (N,) device-minutes that AI kept something running.
        share_sum: (N,) device-minutes given to AI.
        asked: (N,) sampled requests a second of origins, for the map.
        answered: (N,) of them.
        promised: (N,) of them, within TTFT and TPOT.
        tokens_sum: (N,) tokens of requests that sites served.
        mass: (S, O, 2, P) requests at operating points.
        seconds: real time by phase.
        series: name to (minutes,).
        ttft_p50: ms, of half an hour each.
        ttft_p99: likewise.
    """

    came: Floats
    served: Floats
    refused: Floats
    good: Floats
    in_flight: Floats
    busy_sum: Floats
    share_sum: Floats
    asked: Floats
    answered: Floats
    promised: Floats
    tokens_sum: Floats
    mass: Floats
    series: dict[str, Floats]
    seconds: dict[str, float] = field(default_factory=dict)
    ttft_p50: list[float] = field(default_factory=list)
    ttft_p99: list[float] = field(default_factory=list)


def empty(sites: int, services: int, points: int, bins: int, minutes: int) -> Tally:
    """Before the first minute."""
    came, served, refused, good, in_flight = np.zeros((5, services))
    busy_sum, share_sum, asked, answered, promised, tokens_sum = np.zeros((6, sites))
    return Tally(
        came=came,
        served=served,
        refused=refused,
        good=good,
        in_flight=in_flight,
        busy_sum=busy_sum,
        share_sum=share_sum,
        asked=asked,
        answered=answered,
        promised=promised,
        tokens_sum=tokens_sum,
        mass=np.zeros((services, points, 2, bins)),
        series={name: np.zeros(minutes) for name in SERIES},
    )
