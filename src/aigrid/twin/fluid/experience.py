"""What the forecasts know when the day begins: what a long past would have taught them.

`forecast.learn` over many days ends at the mean and the spread of each time of day. Those of the
load's logarithm are known here, so they are written down instead of learned: a few simulated days
would leave spreads that are too small at some sites, and the radio would pay for it (a week in half
hours took 7 s for 200,000 sites; two weeks of a site still misjudge its spread by a fifth).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.control import forecast
from aigrid.control.forecast import DailyProfile
from aigrid.twin.fluid import chance, demand, radio
from aigrid.twin.fluid.demand import DemandState
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.radio import RadioState, RadioTables
from aigrid.twin.fluid.radio_kernels import LOG_OFFSET
from aigrid.twin.models.shapes import MINUTES

Floats = NDArray[np.float64]
RADIO_BINS = 48
DEMAND_BINS = 24
# Values that a bin has seen: many.
SEEN = 1000.0


@dataclass(slots=True)
class Known:
    """Profiles, and the columns as the last minute before the day left them.

    Attributes:
        load: profile of the log of load, plus `LOG_OFFSET`; rows are sites.
        demand: profile of requests a second; rows are (service, site), site fastest.
        radio: columns.
        requests: columns.
    """

    load: DailyProfile
    demand: DailyProfile
    radio: RadioState
    requests: DemandState


def known_of(ground: Ground, tables: RadioTables, seed: int) -> Known:
    """Profiles of a long past, and a minute before the day, drawn from a stream of its own."""
    country, sites = ground.country, len(ground.network)
    known = Known(
        load_profile(ground, tables),
        demand_profile(ground),
        radio.at_rest(sites),
        demand.at_rest(len(country.services), sites),
    )
    every, none = slice(0, sites), np.zeros(sites)
    start = chance.key(seed, chance.RADIO_BEFORE, 0)
    radio.minute_of_radio(ground, tables, known.radio, none, MINUTES - 1, start, 0.0, every)
    keys = (chance.key(seed, chance.DEMAND_BEFORE, 0), chance.key(seed, chance.DEMAND_BEFORE, 1))
    rates = demand.by_customer(country)
    demand.minute_of_demand(
        country, known.requests, rates, tables.normals, MINUTES - 1, keys, 0.0, every
    )
    known.radio.miss_sum[:] = 0.0
    known.radio.used_sum[:] = 0.0
    return known


def load_profile(ground: Ground, tables: RadioTables) -> DailyProfile:
    """Mean and spread of the log of each site's load by time of day."""
    network, spread = ground.network, ground.country.radio.spread
    profile = forecast.empty(len(network), RADIO_BINS)
    by_bin = _by_bin(tables)
    level = tables.log_peak - 0.5 * spread * spread + LOG_OFFSET
    for at in range(RADIO_BINS):
        profile.mean[:, at] = np.minimum(level + by_bin[network.shape, at], LOG_OFFSET)
    profile.spread[:] = spread
    profile.seen[:] = SEEN
    return profile


def _by_bin(tables: RadioTables) -> Floats:
    """(shapes + C, RADIO_BINS) mean of the log of the part of the busiest hour's load."""
    shapes = tables.log_shapes
    named: Floats = shapes.reshape(len(shapes), RADIO_BINS, -1).mean(axis=2)
    if not tables.own_load.size:
        return named
    own = np.zeros((tables.own_load.shape[1], RADIO_BINS))
    for minute in range(MINUTES):
        own[:, minute * RADIO_BINS // MINUTES] += radio.levels_at(tables, minute)[len(named) :]
    return np.concatenate((named, own * RADIO_BINS / MINUTES))


def demand_profile(ground: Ground) -> DailyProfile:
    """Mean requests a second of each origin and service by time of day; nobody asks for spread."""
    country, customers = ground.country, ground.network.customers
    rates = demand.by_customer(country).reshape(len(country.services), DEMAND_BINS, -1).mean(axis=2)
    rates *= 1.0 + country.bursts * country.burst_min / MINUTES * (country.burst_factor - 1.0)
    profile = forecast.empty(rates.shape[0] * len(customers), DEMAND_BINS)
    each = profile.mean.T.reshape(DEMAND_BINS, rates.shape[0], len(customers))
    np.multiply(rates.T[:, :, None], customers, out=each, casting="same_kind")
    profile.seen[:] = SEEN
    return profile
