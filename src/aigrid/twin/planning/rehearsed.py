"""A plan as a network, and what its rehearsal finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.network import Network
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid.rehearsal import policy_of, run_policy
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.fluid.trace import Trace
from aigrid.twin.models import money
from aigrid.twin.models.device import Device
from aigrid.twin.models.devices import radio_only
from aigrid.twin.models.service import Service
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.seen import Seen, Watcher
from aigrid.twin.planning.solution import Solution, carried, extras
from aigrid.twin.policies import plan_of

POLICY = "aigrid"


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A planned network's day under the orchestrator.

    Attributes:
        slo_attainment: of all requests that were sold.
        served: part of them that was answered.
        utilisation: of hubs and factories, busy with AI, mean over the day.
        radio_miss_rate: slots that missed their deadline.
        revenue_usd: a year's.
        energy_usd: a year's, of hubs and factories, and of AI at towers.
        ttft_ms_p99: of served requests.
        attained: (name, part) of the requests of each service sold that kept what was promised.
    """

    slo_attainment: float
    served: float
    utilisation: float
    radio_miss_rate: float
    revenue_usd: float
    energy_usd: float
    ttft_ms_p99: float
    attained: tuple[tuple[str, float], ...] = ()

    def keeps(self, share: float) -> bool:
        """Whether every service kept this share of its promises over the day."""
        return all(part >= share for _, part in self.attained)

    @property
    def worst(self) -> tuple[str, float]:
        """The service that kept the smallest part of its promises, and that part."""
        return min(self.attained, key=lambda one: one[1])


def planned_country(model: Model, found: Solution) -> Country:
    """The country with what was bought, towers without AI where none was, and what is sold.

    Requests that the plan does not carry are not sold, so that they do not crowd out the others.
    """
    country, towers = model.country, model.towers
    network = country.network
    own = len(country.devices)
    radio_rows = sorted({int(d) for d in network.device[network.cells > 0]})
    bare = tuple(_radio_only(country, row) for row in radio_rows)
    device, devices = network.device.astype(np.int64), network.devices.copy()
    radio = network.cells > 0
    first_bare = own + len(model.terms.devices)
    for at, row in enumerate(radio_rows):
        device[radio & (network.device == row)] = first_bare + at
    serving = towers.row[found.tower >= 0]
    device[serving] = network.device[serving]
    devices[serving] += extras(found)[found.tower >= 0]
    used = found.option >= 0
    devices[model.site] = found.count
    device[model.site[used]] = own + model.options.device[found.option[used]]
    return replace(
        country,
        devices=country.devices + model.terms.devices + bare,
        services=_sold(model, found),
        network=replace(network, device=device.astype(np.int8), devices=devices),
    )


def _sold(model: Model, found: Solution) -> tuple[Service, ...]:
    year = (model.demand * model.year[None]).sum(axis=(0, 2))
    sold = (carried(model, found) * model.year[None]).sum(axis=(0, 2)) / np.maximum(year, 1e-300)
    return tuple(
        replace(s, requests_per_customer_day=s.requests_per_customer_day * min(float(part), 1.0))
        for s, part in zip(model.country.services, sold, strict=True)
    )


def _radio_only(country: Country, row: int) -> Device:
    """A tower's computer that does the radio, and has no memory for a model."""
    network = country.network
    mean = float(network.devices[(network.device == row) & (network.cells > 0)].mean())
    return radio_only(country.devices[row], country.money.radio_only_tower_usd / max(mean, 1e-9))


def rehearse_plan(
    model: Model,
    found: Solution,
    seed: int,
    workers: int = 1,
    heard: Callable[[int], None] | None = None,
) -> tuple[Rehearsed, Seen]:
    """The planned network's day, under the policy that runs live, and what was seen where.

    Raises:
        RuleBrokenError: the twin broke a rule.
    """
    country = planned_country(model, found)
    watcher = Watcher(model, found, country.network, country.minutes)
    with Threads(workers) as threads:
        outcome, sums = run_policy(
            country,
            plan_of(POLICY),
            policy_of(country),
            seed,
            threads,
            Trace(f"plan {country.name} {seed}"),
            {},
            (lambda _, minute: heard(minute)) if heard else None,
            watcher.watch,
        )
    seen = watcher.seen(sums.came)
    names = [service.name for service in country.services]
    busy = sums.busy_sum / country.minutes
    bought = float(country.network.devices[model.site].sum())
    rehearsed = Rehearsed(
        slo_attainment=outcome.slo_attainment,
        served=outcome.served / max(outcome.requests, 1e-9),
        utilisation=float(busy[model.site].sum()) / max(bought, 1e-9),
        radio_miss_rate=outcome.radio_miss_rate,
        revenue_usd=outcome.money["whole_site:ai_revenue_usd"],
        energy_usd=_energy_usd(model, found, country, busy),
        ttft_ms_p99=outcome.ttft_ms_p99,
        attained=tuple(
            (name, part)
            for name, part, came in zip(names, seen.attained.tolist(), sums.came, strict=True)
            if came > 0.0
        ),
    )
    return rehearsed, seen


def _energy_usd(
    model: Model, found: Solution, country: Country, busy: NDArray[np.float64]
) -> float:
    network: Network = country.network
    idle = np.array([d.idle_w for d in country.devices])[network.device]
    slope = np.array([d.peak_w - d.idle_w for d in country.devices])[network.device]
    watts = slope * busy
    watts[model.site] += idle[model.site] * network.devices[model.site]
    watts[model.towers.row] += idle[model.towers.row] * extras(found)
    kwh = money.energy_kwh(watts, money.HOURS_A_YEAR, country.money.pue)
    return kwh * country.money.usd_per_kwh
