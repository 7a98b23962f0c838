"""What the forecasts know when the day begins: a few days before it, in half hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from aigrid.control import forecast
from aigrid.control.forecast import DailyProfile
from aigrid.twin.fluid import chance, demand, radio
from aigrid.twin.fluid.demand import DemandState
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.radio import RadioModelTables, RadioState
from aigrid.twin.fluid.threads import Threads, parts
from aigrid.twin.models.shapes import MINUTES

DAYS = 4
# Of demand fewer are enough: only its shape is used, not its spread.
DEMAND_DAYS = 2
STEP_MIN = 30
BINS = MINUTES // STEP_MIN


@dataclass(slots=True)
class Known:
    """Profiles, and the columns as the last minute before the day left them.

    Attributes:
        need: profile of what a share must leave the radio; rows are sites.
        slot_need: profile of the slot quantile, for sites that share in time; None without any.
        demand: profile of requests a second; rows are (service, site), site fastest.
        radio: columns.
        requests: columns.
    """

    need: DailyProfile
    slot_need: DailyProfile | None
    demand: DailyProfile
    radio: RadioState
    requests: DemandState


def days_before(ground: Ground, tables: RadioModelTables, seed: int, threads: Threads) -> Known:
    """Simulate the radio and the demand of the days before, with chance of their own, and learn.

    The columns go on into the day, so that its first forecast has a value to start from.
    """
    country, sites = ground.country, len(ground.network)
    services = len(country.services)
    temporal = bool(np.any(ground.preemption < 1.0))
    known = Known(
        forecast.empty(sites, BINS),
        forecast.empty(sites, BINS) if temporal else None,
        forecast.empty(services * sites, BINS // 2),
        radio.at_rest(sites),
        demand.at_rest(services, sites),
    )
    rates, none = demand.by_customer(country), np.zeros(sites)
    memory = country.radio.memory**STEP_MIN
    rows = parts(slice(0, sites))
    for step in range(DAYS * BINS):
        minute = (step % BINS) * STEP_MIN + STEP_MIN - 1
        # Once an hour: its deviations are forgotten by then.
        is_demand = minute % 60 == 59 and step >= (DAYS - DEMAND_DAYS) * BINS
        start = chance.key(seed, chance.RADIO_BEFORE, step)
        keys = (
            chance.key(seed, chance.DEMAND_BEFORE, 2 * step),
            chance.key(seed, chance.DEMAND_BEFORE, 2 * step + 1),
        )

        def both(
            some: slice,
            minute: int = minute,
            start: np.uint64 = start,
            keys: tuple[np.uint64, np.uint64] = keys,
            kept: float = 0.0 if step == 0 else memory,
            is_demand: bool = is_demand,
        ) -> None:
            radio.minute_of_radio(ground, tables, known.radio, none, minute, start, kept, some)
            if is_demand:
                demand.minute_of_demand(
                    country, known.requests, rates, tables.normals, minute, keys, 0.0, some
                )

        threads.each(both, rows)
        threads.each(lambda learn: learn(), _lessons(known, minute, is_demand))
    known.radio.miss_sum[:] = 0.0
    known.radio.used_sum[:] = 0.0
    return known


def _lessons(known: Known, minute: int, is_demand: bool) -> list[Callable[[], None]]:
    columns = [(known.need, known.radio.need)]
    if known.slot_need is not None:
        columns.append((known.slot_need, known.radio.slot_need))
    if is_demand:
        columns.append((known.demand, known.requests.rate.reshape(-1)))
    return [partial(forecast.learn, p, minute, value, 0.0) for p, value in columns]
