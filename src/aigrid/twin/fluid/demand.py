# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Requests that come at each tower and service, minute by minute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import chance
from aigrid.twin.models.shapes import MINUTES, demand_shape

Floats = NDArray[np.float64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Of log demand from one minute to the next: an assumption, demand changes within ten minutes.
MEMORY = 0.9
DAY_S = 86_400.0
# Rows that are worked on at once, within the reach of a processor's cache.
BLOCK = 2048
# Rows that are asked together whether there is a burst: few enough that most have none.
SOME = 128


@dataclass(slots=True)
class DemandState:
    """Columns that change each minute.

    Attributes:
        deviation: (S, N) float32, of log demand, in standard deviations.
        burst_left: (N,) int16 minutes that the present burst lasts on.
        rate: (S, N) float64 requests a second in this minute.
    """

    deviation: NDArray[np.float32]
    burst_left: NDArray[np.int16]
    rate: Floats


def at_rest(services: int, sites: int) -> DemandState:
    """Before the first minute."""
    return DemandState(
        np.zeros((services, sites), np.float32),
        np.zeros(sites, np.int16),
        np.zeros((services, sites)),
    )


def by_customer(country: Country) -> Floats:
    """(S, 1440) requests a second and customer, by minute of the day."""
    own = country.demand_curves
    curves = [own[s.name] if s.name in own else demand_shape(s.shape) for s in country.services]
    wanted = [s.requests_per_customer_day for s in country.services]
    return np.stack([curve * rate / DAY_S for curve, rate in zip(curves, wanted, strict=True)])


def minute_of_demand(
    country: Country,
    state: DemandState,
    rates: Floats,
    normals: NDArray[np.float32],
    minute: int,
    keys: tuple[np.uint64, np.uint64],
    memory: float,
    rows: slice,
) -> None:
    """One minute of the sites in `rows`, in place.

    Args:
        country: its demand.
        state: to change.
        rates: of `by_customer`.
        normals: of `chance`.
        minute: of the day.
        keys: of `chance.key`, for deviations and for bursts.
        memory: correlation with the minute before; 0 draws anew.
        rows: contiguous.
    """
    for first in range(0, len(rates), 4):
        _minute(
            rows.start,
            rows.stop,
            keys[0] + np.uint64(first),
            memory,
            country.demand_spread,
            np.ascontiguousarray(rates[first : first + 4, minute % MINUTES]),
            normals,
            country.network.customers,
            state.deviation[first : first + 4],
            state.rate[first : first + 4],
        )
    if country.bursts > 0.0:
        _bursts(
            rows.start,
            rows.stop,
            keys[1],
            country.bursts / MINUTES,
            country.burst_factor,
            country.burst_min,
            state.burst_left,
            state.rate,
        )


@njit(**_OPTIONS)
def _minute(first, last, start, memory, spread, rates, normals, customers, deviation, rate):
    # Look-ups have a loop of their own: the others then do several rows at once.
    all_bits, all_fresh = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.float32)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        bits, fresh = all_bits[: end - begin], all_fresh[: end - begin]
        chance.draws(start, begin, bits)
        for s in range(len(rates)):
            drift, here = deviation[s, begin:end], customers[begin:end]
            _fresh(bits, s, normals, fresh)
            _drift(fresh, memory, np.float32(spread), drift)
            _rate(fresh, here, rates[s], rate[s, begin:end])


@njit(**_OPTIONS)
def _fresh(bits, part, normals, found):
    for at in range(len(bits)):
        found[at] = chance.normal(bits[at], part, normals)


@njit(**_OPTIONS)
def _drift(found, memory, spread, deviation):
    """From fresh deviates to the factor of demand that the drifting ones make, in place."""
    kept, fresh = np.float32(memory), np.float32(np.sqrt(1.0 - memory * memory))
    bias = np.float32(0.5) * spread * spread
    for at in range(len(found)):
        now = kept * deviation[at] + fresh * found[at]
        deviation[at] = now
        found[at] = chance.exponential(spread * now - bias)


@njit(**_OPTIONS)
def _rate(factor, customers, rate, found):
    for at in range(len(found)):
        found[at] = customers[at] * rate * factor[at]


@njit(**_OPTIONS)
def _bursts(first, last, start, probability, factor, minutes, left, rate):
    limit = np.uint64(probability * 2.0**53)
    all_bits = np.empty(SOME, np.uint64)
    for begin in range(first, last, SOME):
        end = min(begin + SOME, last)
        bits = all_bits[: end - begin]
        chance.draws(start, begin, bits)
        if _burst(bits, limit, np.int16(minutes), left[begin:end]) > 0:
            for row in range(begin, end):
                if left[row] > 0:
                    for s in range(len(rate)):
                        rate[s, row] *= factor


@njit(**_OPTIONS)
def _burst(bits, limit, minutes, left):
    """A minute of bursts that last on or begin; above 0 where there are any."""
    some, none, one = np.int16(0), np.int16(0), np.int16(1)
    for at in range(len(left)):
        begun = minutes if (bits[at] >> np.uint64(11)) < limit else none
        now = np.int16(left[at] - one) if left[at] > none else begun
        left[at] = now
        some |= now
    return some
