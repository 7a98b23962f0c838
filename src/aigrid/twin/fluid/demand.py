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
    kept, fresh = np.float32(memory), np.float32(np.sqrt(1.0 - memory * memory))
    all_bits = np.empty(BLOCK, np.uint64)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        bits = all_bits[: end - begin]
        chance.draws(start, begin, bits)
        for s in range(len(rates)):
            drift, here = deviation[s, begin:end], customers[begin:end]
            _drift(bits, s, normals, kept, fresh, drift)
            _level(drift, here, rates[s], np.float32(spread), rate[s, begin:end])


@njit(**_OPTIONS)
def _drift(bits, part, normals, kept, fresh, deviation):
    for at in range(len(bits)):
        deviation[at] = kept * deviation[at] + fresh * chance.normal(bits[at], part, normals)


@njit(**_OPTIONS)
def _level(deviation, customers, rate, spread, found):
    bias = np.float32(0.5) * spread * spread
    for at in range(len(found)):
        found[at] = customers[at] * rate * chance.exponential(spread * deviation[at] - bias)


@njit(**_OPTIONS)
def _bursts(first, last, start, probability, factor, minutes, left, rate):
    limit = np.uint64(probability * 2.0**53)
    all_bits = np.empty(BLOCK, np.uint64)
    for begin in range(first, last, BLOCK):
        bits = all_bits[: min(BLOCK, last - begin)]
        chance.draws(start, begin, bits)
        for at in range(len(bits)):
            row = begin + at
            if left[row] > 0:
                left[row] -= 1
            elif (bits[at] >> np.uint64(11)) < limit:
                left[row] = minutes
            if left[row] > 0:
                for s in range(len(rate)):
                    rate[s, row] *= factor
