"""A planning problem as columns: origins in groups, candidate sites, demand by time of day.

Towers under one hub (or whatever their parent is) form a group; its demand may be split among its
candidates in any way, and a tower may serve what comes to it. Paths are those of the group's
farthest tower, so that what is planned holds for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.control import neighbours
from aigrid.control.policy import Policy
from aigrid.core.errors import ConfigurationError
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import TOWER, Network
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid.demand import DAY_S, by_customer
from aigrid.twin.fluid.responses import PATH_EDGES_MS
from aigrid.twin.models.money import DAYS_A_YEAR, request_value_usd
from aigrid.twin.models.shapes import MINUTES
from aigrid.twin.planning.options import Options, options_of, paces_of
from aigrid.twin.planning.terms import OFF, PERIODS, Terms, check
from aigrid.twin.planning.towers import Towers, tower_types, towers_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Standard deviations of a hub's demand that are planned for.
MARGIN_Z = 3.0


@dataclass(frozen=True, slots=True)
class Model:
    """G groups of origins, K hubs and factories, C candidates a group, S services, T periods.

    Attributes:
        country: what it was made of.
        terms: what is wanted.
        options: of hubs and factories.
        towers: of N towers that may serve.
        site: (K,) rows of the network.
        kind: (K,).
        customers: (G,).
        near: (G, C) candidates as places in `site`; -1 for none.
        path: (G, C) path bin.
        lawful: (K, S) sovereignty: whether the service may stand in the site's region.
        rate: (S, T) requests a second and customer that are planned for, margin included.
        year: (S, T) requests of a year for a planned request a second.
        value_usd: (S,) of a request.
        carry_usd: (S,) to carry a request from a tower to a hub or factory and back.
        capital: share of capital that a year costs.
        usd_per_wh: of a computer, cooling included.
        margin: demand planned over mean demand of its busiest hour in each period.
        farthest_ms: (G, C) one way.
        allowed: (K, O) options that a site may have: those of its kind, and after a rehearsal
            (`corrections`) only those that keep what fell short there.
        room: (K,) devices for one that is needed; 1 until a rehearsal asked for more.
    """

    country: Country
    terms: Terms
    options: Options
    towers: Towers
    site: Ints
    kind: Ints
    customers: Floats
    near: Ints
    path: Ints
    lawful: NDArray[np.bool_]
    rate: Floats
    year: Floats
    value_usd: Floats
    carry_usd: Floats
    capital: float
    usd_per_wh: float
    margin: float
    farthest_ms: Floats
    allowed: NDArray[np.bool_]
    room: Floats

    @property
    def demand(self) -> Floats:
        """(G, S, T) requests a second that are planned for."""
        return self.customers[:, None, None] * self.rate[None]

    def price(self) -> Floats:
        """(O,) capital of a device."""
        each = np.array([device.capital_usd for device in self.options.devices])
        return each[self.options.device]

    def idle_usd(self) -> Floats:
        """(O,) a year's energy of an idle device."""
        return self._year_usd([d.idle_w for d in self.options.devices])

    def busy_usd(self) -> Floats:
        """(O,) least energy for a second of work at full batches, beyond the idle device's."""
        watts = [d.peak_w - d.idle_w for d in self.options.devices]
        return self._year_usd(watts) * self.options.running / (DAYS_A_YEAR * DAY_S)

    def run_usd(self) -> Floats:
        """(O,) energy of a device that runs something all year, beyond the idle device's."""
        return self._year_usd([d.peak_w - d.idle_w for d in self.options.devices])

    def _year_usd(self, watts: list[float]) -> Floats:
        each = np.array(watts) * DAYS_A_YEAR * 24.0 * self.usd_per_wh
        return np.asarray(each[self.options.device], np.float64)


def model_of(country: Country, terms: Terms, dials: Policy) -> Model:
    """Prepare a country for planning; the devices at its hubs and factories are left out.

    Raises:
        ConfigurationError: terms that cannot be met in any way, or no customers.
    """
    check(terms, country)
    network, services = country.network, country.services
    origins = np.flatnonzero(network.customers > 0.0)
    if len(origins) == 0:
        raise ConfigurationError(
            f"{country.name} has no customers", next_step="give its sites some"
        )
    upper = (network.cells == 0) & (network.kind != TOWER)
    group_of, groups = _groups(network, origins)
    reach, hop = _reach(country, dials)
    site = np.flatnonzero(upper)
    near, farthest = _near(origins, group_of, groups, reach, hop, site, len(network))
    kinds = tuple(sorted({int(k) for k in network.kind[site] if SITE_KINDS[int(k)] in terms.kinds}))
    serving = origins[network.cells[origins] > 0]
    if terms.towers == OFF or SITE_KINDS[TOWER] not in terms.kinds:
        serving = serving[:0]
    paces = paces_of(
        country, dials, terms.devices, tower_types(network, serving), kinds, reach, hop
    )
    options = options_of(paces, terms.devices, len(country.devices), kinds, terms.slo_share)
    rate, year, margin = _rates(country, origins, group_of, groups)
    place = np.full(len(network), -1)
    place[origins] = group_of
    return Model(
        country=country,
        terms=terms,
        options=options,
        towers=towers_of(country, terms, paces, serving, place[serving]),
        site=site,
        kind=network.kind[site].astype(np.int64),
        customers=np.asarray(np.bincount(group_of, network.customers[origins], groups), np.float64),
        near=near,
        path=np.searchsorted(PATH_EDGES_MS, 2.0 * farthest).astype(np.int64),
        lawful=_lawful(country, site),
        rate=rate,
        year=year,
        value_usd=np.array(
            [
                request_value_usd(
                    s.prompt_tokens.mean,
                    s.generated_tokens.mean,
                    (s.usd_per_m_prompt_tokens, s.usd_per_m_generated_tokens),
                )
                for s in services
            ]
        ),
        carry_usd=np.array([s.prompt_tokens.mean + s.generated_tokens.mean for s in services])
        * (country.path.bytes_per_token / 1e12 * terms.usd_per_tb),
        capital=1.0 / country.money.life_years + country.money.upkeep,
        usd_per_wh=country.money.usd_per_kwh * country.money.pue / 1e3,
        margin=margin,
        farthest_ms=farthest,
        allowed=options.kind[None, :] == network.kind[site].astype(np.int64)[:, None],
        room=np.ones(len(site)),
    )


def _groups(network: Network, origins: Ints) -> tuple[Ints, int]:
    above = network.parent[origins]
    own = (network.kind[origins] != TOWER) | (above < 0)
    key = np.where(own, origins, above)
    found, group_of = np.unique(key, return_inverse=True)
    return group_of.astype(np.int64), len(found)


def _reach(country: Country, dials: Policy) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    network, path = country.network, country.path
    reach = neighbours.reach(network.parent, network.kind, int(dials.candidates))
    hop = neighbours.hop_ms(
        reach,
        network.latitude_deg,
        network.longitude_deg,
        network.parent,
        path.router_ms,
        path.fibre_us_per_km * path.detour / 1e3,
    )
    return reach, hop


def _near(
    origins: Ints,
    group_of: Ints,
    groups: int,
    reach: NDArray[np.int32],
    hop: NDArray[np.float32],
    site: Ints,
    count: int,
) -> tuple[Ints, Floats]:
    """Candidates that all origins of a group have, and how far the farthest of them is."""
    place = np.full(count + 1, -1)
    place[site] = np.arange(len(site))
    upper = np.where(reach[origins] >= 0, place[reach[origins]], -1)
    pair = group_of[:, None] * len(site) + upper
    here = upper >= 0
    keys, at, seen = np.unique(pair[here], return_inverse=True, return_counts=True)
    far = np.zeros(len(keys))
    np.maximum.at(far, at, hop[origins][here].astype(np.float64))
    shared = seen == np.bincount(group_of, minlength=groups)[keys // len(site)]
    keys, far = keys[shared], far[shared]
    group = keys // len(site)
    rank = np.arange(len(keys)) - np.searchsorted(group, group)
    width = int(rank.max(initial=0)) + 1
    near, farthest = np.full((groups, width), -1), np.zeros((groups, width))
    near[group, rank], farthest[group, rank] = keys % len(site), far
    return near, farthest


def _lawful(country: Country, site: Ints) -> NDArray[np.bool_]:
    names = np.array(country.network.regions)[country.network.region[site]]
    lawful = np.ones((len(site), len(country.services)), np.bool_)
    for s, service in enumerate(country.services):
        if service.regions:
            lawful[:, s] = np.isin(names, service.regions)
    return lawful


def _rates(
    country: Country, origins: Ints, group_of: Ints, groups: int
) -> tuple[Floats, Floats, float]:
    customers = country.network.customers[origins]
    whole = np.bincount(group_of, customers, groups)
    alike = whole**2 / np.maximum(np.bincount(group_of, customers**2, groups), 1e-300)
    # Deviations of origins are independent: relative to the mean they shrink as 1/sqrt(n).
    spread = math.sqrt(math.expm1(country.demand_spread**2))
    typical = float(np.average(1.0 / np.sqrt(alike), weights=whole))
    bursts = country.bursts * country.burst_min / MINUTES * (country.burst_factor - 1.0)
    mean_factor = 1.0 + bursts
    margin = mean_factor + MARGIN_Z * spread * typical
    mean = by_customer(country)
    parts = mean.reshape(len(mean), PERIODS, -1)
    rate = parts.max(axis=2) * margin
    seconds = DAYS_A_YEAR * DAY_S / PERIODS
    year = parts.mean(axis=2) * mean_factor * seconds / np.maximum(rate, 1e-300)
    return rate, year, margin
