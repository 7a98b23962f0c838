"""Queues in closed form: M/M/1, M/M/c, M/G/1 first come first served, M/G/1 processor sharing.

Rates are per second, times in seconds. A queue that cannot keep up waits for ever: infinity.
Sources: Kleinrock, "Queueing Systems" I, 1975 (3.2, 3.5, 5.5) and II, 1976 (4.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import gammainc

Floats = NDArray[np.float64]


def mm1_sojourn_s(rate: float, service_rate: float) -> float:
    """Mean time in an M/M/1 queue, waiting and served: 1 / (mu - lambda)."""
    return 1.0 / (service_rate - rate) if rate < service_rate else math.inf


def erlang_c(rate: float, service_rate: float, servers: int) -> float:
    """Probability of waiting in an M/M/c queue (Erlang's C formula); 1 where it cannot keep up.

    By Erlang's B, whose recursion has no factorials: B(c) = a B(c-1) / (c + a B(c-1)).
    """
    offered = rate / service_rate
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for c in range(1, servers + 1):
        blocked = offered * blocked / (c + offered * blocked)
    return blocked / (1.0 - offered / servers * (1.0 - blocked))


def mmc_sojourn_s(rate: float, service_rate: float, servers: int) -> float:
    """Mean time in an M/M/c queue: C / (c mu - lambda) + 1 / mu."""
    if rate >= servers * service_rate:
        return math.inf
    wait = erlang_c(rate, service_rate, servers) / (servers * service_rate - rate)
    return wait + 1.0 / service_rate


def mg1_wait_s(rate: float, mean_s: float, mean_square_s2: float) -> float:
    """Mean wait in an M/G/1 queue, first come first served: lambda E[S^2] / (2 (1 - rho)).

    The Pollaczek-Khinchine formula.
    """
    busy = rate * mean_s
    return rate * mean_square_s2 / (2.0 * (1.0 - busy)) if busy < 1.0 else math.inf


def mg1_ps_sojourn_s(rate: float, mean_s: float) -> float:
    """Mean time in an M/G/1 queue that shares its server equally: E[S] / (1 - rho).

    Only the mean of the service time matters.
    """
    busy = rate * mean_s
    return mean_s / (1.0 - busy) if busy < 1.0 else math.inf


@dataclass(frozen=True, slots=True)
class Stream:
    """Work that arrives as a Poisson process: its rate and the moments of one piece of work.

    Attributes:
        rate: arrivals a second.
        mean_s: E[S].
        square_s2: E[S^2].
        cube_s3: E[S^3].
    """

    rate: float
    mean_s: float
    square_s2: float
    cube_s3: float

    @property
    def busy(self) -> float:
        """Share of the time that the server works on it."""
        return self.rate * self.mean_s


def merged(streams: list[Stream]) -> Stream:
    """Several Poisson streams as one; all zeros where nothing arrives."""
    rate = sum(s.rate for s in streams)
    if rate <= 0.0:
        return Stream(0.0, 0.0, 0.0, 0.0)
    parts = [(s.rate / rate, s) for s in streams]
    return Stream(
        rate,
        sum(p * s.mean_s for p, s in parts),
        sum(p * s.square_s2 for p, s in parts),
        sum(p * s.cube_s3 for p, s in parts),
    )


def stream_of(rate: float, samples_s: Floats) -> Stream:
    """A stream whose work is drawn evenly from samples: (samples,) seconds."""
    square = samples_s * samples_s
    return Stream(
        rate, float(samples_s.mean()), float(square.mean()), float((square * samples_s).mean())
    )


@njit(cache=True, nogil=True, error_model="numpy")
def mg1_wait_moments(rate, mean_s, square_s2, cube_s3):  # type: ignore[no-untyped-def]
    """E[W] and E[W^2] of an M/G/1 queue, first come first served, with rho below 1.

    Takacs (Kleinrock I, problem 5.9): E[W^2] = 2 E[W]^2 + lambda E[S^3] / (3 (1 - rho)).
    """
    left = 1.0 - rate * mean_s
    mean = rate * square_s2 / (2.0 * left)
    return mean, 2.0 * mean * mean + rate * cube_s3 / (3.0 * left)


def mg1_wait_cdf(stream: Stream, at_s: Floats) -> Floats:
    """P(wait <= t) in an M/G/1 queue, first come first served.

    Nobody waits with probability 1 - rho. The wait of the others is taken as gamma distributed,
    with the first two moments of `mg1_wait_moments`. Exact for exponential service (the gamma is
    then exponential). Good where service times vary about as much as that or less; a few jobs that
    are far longer than all others make a step that it smooths.

    Args:
        stream: what arrives, with rho below 1; at 1 or above the answer is 0 everywhere.
        at_s: times, any shape.
    """
    busy = stream.busy
    times = np.asarray(at_s, np.float64)
    if busy >= 1.0:
        return np.zeros_like(times)
    if busy <= 0.0:
        return np.where(times >= 0.0, 1.0, 0.0)
    mean, square = mg1_wait_moments(stream.rate, stream.mean_s, stream.square_s2, stream.cube_s3)
    mean_waiting, square_waiting = mean / busy, square / busy
    variance = max(square_waiting - mean_waiting * mean_waiting, 1e-12 * square_waiting)
    shape, scale = mean_waiting * mean_waiting / variance, variance / mean_waiting
    waited = gammainc(shape, np.maximum(times, 0.0) / scale)
    return np.where(times >= 0.0, 1.0 - busy + busy * waited, 0.0)
