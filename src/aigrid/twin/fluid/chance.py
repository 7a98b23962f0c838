# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""Chance that depends on (seed, stream, step, row) alone, whatever the order of evaluation.

A counter goes through the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014). Sixteen of its bits choose one of 65,536 equally
likely normal deviates, so that one draw makes four of them, up to 4.3 standard deviations; where
tails matter, two of them make one, up to 6.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

RADIO, DEMAND, BURSTS, RADIO_BEFORE, DEMAND_BEFORE = range(5)
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def key(seed: int, stream: int, step: int) -> np.uint64:
    """Where the numbers of one step of one stream start."""
    words = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, stream, step & 0xFFFFFFFF)
    return np.uint64(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def normals() -> NDArray[np.float32]:
    """(65536,) equally likely values of a normal distribution, variance 1."""
    from scipy.special import ndtri

    values = ndtri((np.arange(65_536) + 0.5) / 65_536)
    return np.asarray(values / values.std(), np.float32)


@njit(inline="always", **_OPTIONS)
def draw(start, row):
    """64 random bits of a row."""
    return _mixed(start + np.uint64(row) * _GOLDEN)


@njit(inline="always", **_OPTIONS)
def _mixed(bits):
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


@njit(**_OPTIONS)
def draws(start, first, found):
    """Fill `found` with the bits of the rows from `first` on."""
    bits = start + np.uint64(first) * _GOLDEN
    for at in range(len(found)):
        found[at] = _mixed(bits)
        bits += _GOLDEN


_ROOT_2 = np.float32(1.4142135623730951)
# Where the exponent of a float32 stands in its bits, and what is added to it.
_EXPONENT, _BIAS = np.int32(23), np.int32(127)
_LOG2_E, _LN_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
_ONE, _HALF = np.float32(1.0), np.float32(0.5)
_SIXTH, _24TH, _120TH, _720TH = (np.float32(1.0 / n) for n in (6, 24, 120, 720))
_ROOT_HALF = np.float32(0.7071067811865476)
_LOWEST, _HIGHEST = np.float32(-40.0), np.float32(40.0)


@njit(inline="always", **_OPTIONS)
def exponential(x):
    """e^x of a float32 for -40 < x < 40, to 2e-6: 2^(n + f) with a Taylor polynomial at f = 1/2.

    Without branches, so that a processor does several at once; the same bits on every machine.
    """
    y = min(max(x, _LOWEST), _HIGHEST) * _LOG2_E
    whole = np.floor(y)
    t = (y - whole - _HALF) * _LN_2
    square = t * t
    high = (_24TH + t * _120TH) + square * _720TH
    series = (_ONE + t) + square * (_HALF + t * _SIXTH) + square * square * high
    power = np.int32((np.int32(whole) + _BIAS) << _EXPONENT).view(np.float32)
    return series * (power * _ROOT_2)


@njit(inline="always", **_OPTIONS)
def normal(bits, part, table):
    """Normal deviate number `part` (0 to 3) of a draw."""
    return table[np.int64((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF))]


@njit(inline="always", **_OPTIONS)
def tailed(bits, table):
    """A deviate with tails beyond one in 100,000: of two, each half of the variance."""
    return (normal(bits, 0, table) + normal(bits, 1, table)) * _ROOT_HALF
