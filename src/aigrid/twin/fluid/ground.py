"""What stays the same all day under one policy: compute, costs, candidates, paths, as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.control import neighbours
from aigrid.control.policy import Policy
from aigrid.core.errors import ConfigurationError
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.scenario import Country
from aigrid.twin.models.device import Device
from aigrid.twin.models.money import request_value_usd
from aigrid.twin.models.roofline import USABLE_MEMORY, fits, service_cost
from aigrid.twin.models.service import Service, ServiceCost
from aigrid.twin.policies import FIXED, Plan

Floats = NDArray[np.float64]
# Devices of a site that work on one request together; a larger site is several such groups.
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class SiteType:
    """Sites with the same device, number of devices that work together, and kind.

    Attributes:
        device: of its sites.
        group: devices that work on one request together.
        kind: of its sites.
        costs: of each service; None where it may not or cannot run.
        memory_gb: of a group, usable.
    """

    device: Device
    group: int
    kind: int
    costs: tuple[ServiceCost | None, ...]
    memory_gb: float


@dataclass(frozen=True, slots=True)
class Ground:
    """Columns of N sites, S services and T site types.

    Attributes:
        country: as rehearsed, with what the policy changed.
        types: T of them.
        type_of: (N,) int16.
        compute: (N,) devices.
        has_radio: (N,).
        preemption: (N,) part of the slot's deadline that AI takes to make way; NaN: spatial.
        sells: (N,) whether AI may run at all.
        work_s: (S, T) of one device for a request whose session stays where it was.
        lost_s: (S, T) further, where it does not and the prefix is lost.
        load_s: (S, T).
        line: (S, T) requests in line at most, for a group.
        memory_need_gb: (S, T).
        allowed: (S, N) whether a service may stand there.
        value_usd: (S,) of a request.
        reach: (N, K) int32 candidates.
        hop_ms: (N, K) float32 one way.
        above: (N,) int32 nearest site above of a higher kind; -1 for none.
        above_ms: (N,) float32 one way.
        levels: rows of each kind, from factories to towers.
    """

    country: Country
    types: tuple[SiteType, ...]
    type_of: NDArray[np.int16]
    compute: Floats
    has_radio: NDArray[np.bool_]
    preemption: Floats
    sells: NDArray[np.bool_]
    work_s: Floats
    lost_s: Floats
    load_s: Floats
    line: Floats
    memory_need_gb: Floats
    allowed: NDArray[np.bool_]
    value_usd: Floats
    reach: NDArray[np.int32]
    hop_ms: NDArray[np.float32]
    above: NDArray[np.int32]
    above_ms: NDArray[np.float32]
    levels: tuple[slice, ...]

    @property
    def network(self) -> Network:
        """The sites."""
        return self.country.network

    def by_site(self, values: Floats) -> Floats:
        """(S, T) of types to (N, S) of sites, as `control` wants them."""
        return np.ascontiguousarray(values.T[self.type_of])


def ground_of(country: Country, plan: Plan, policy: Policy) -> Ground:
    """Prepare a country for a policy.

    Raises:
        ConfigurationError: sites in another order than `Network` promises.
    """
    levels = _levels(country.network)
    if plan.central:
        country = centralised(country)
    network = country.network
    sells = np.full(len(network), plan.sells_ai)
    if plan.central:
        sells &= network.kind == FACTORY
    types, type_of = _types(country)
    allowed = _allowed(country, types, type_of) & sells[None, :]
    reach = neighbours.reach(network.parent, network.kind, int(policy.candidates))
    path = country.path
    hop = neighbours.hop_ms(
        reach,
        network.latitude_deg,
        network.longitude_deg,
        network.parent,
        path.router_ms,
        path.fibre_us_per_km * path.detour / 1e3,
    )
    above = _above(network)
    return Ground(
        country=country,
        types=types,
        type_of=type_of,
        compute=np.asarray(network.devices, np.float64),
        has_radio=network.cells > 0,
        preemption=_preemption(country, plan),
        sells=sells,
        work_s=_of_types(types, country.services, lambda c, s: c.work_s),
        lost_s=_of_types(types, country.services, _lost_s),
        load_s=_of_types(types, country.services, lambda c, s: c.load_s),
        line=_of_types(types, country.services, lambda c, s: country.queue_limit * c.places),
        memory_need_gb=_of_types(types, country.services, lambda c, s: c.memory_gb),
        allowed=np.ascontiguousarray(allowed),
        value_usd=np.array([_value(service) for service in country.services]),
        reach=reach,
        hop_ms=hop,
        above=above,
        above_ms=_above_ms(country, above),
        levels=levels,
    )


def centralised(country: Country) -> Country:
    """Towers do the radio alone, hubs have no computers, and factories get what that saves.

    Towers keep the compute that their radio needs; `Ground.sells` keeps AI off it.
    """
    network = country.network
    factories = network.kind == FACTORY
    prices = np.array([device.capital_usd for device in country.devices])[network.device]
    kept = np.count_nonzero(network.cells > 0) * country.money.radio_only_tower_usd
    saved = float((network.devices * prices)[~factories].sum()) - kept
    own = network.devices * prices * factories
    if saved <= 0.0 or own.sum() <= 0.0:
        return country
    devices = np.where(network.cells > 0, network.devices, 0.0)
    devices = np.where(factories, network.devices * (1.0 + saved / own.sum()), devices)
    return replace(country, network=replace(network, devices=devices))


def _levels(network: Network) -> tuple[slice, ...]:
    edges = np.searchsorted(network.kind, np.arange(len(SITE_KINDS) + 1))
    if np.any(np.diff(network.kind) < 0):
        raise ConfigurationError(
            "sites of a network are not in order of their kind",
            next_step=f"list {', then '.join(SITE_KINDS)}",
        )
    return tuple(slice(int(edges[k]), int(edges[k + 1])) for k in (FACTORY, HUB, TOWER))


def _types(country: Country) -> tuple[tuple[SiteType, ...], NDArray[np.int16]]:
    network = country.network
    group = 2 ** np.floor(np.log2(np.clip(network.devices, 1.0, TOGETHER))).astype(np.int64)
    code = (network.kind.astype(np.int64) * 128 + network.device) * 16 + group
    found, type_of = np.unique(code, return_inverse=True)
    types = tuple(_type(country, int(c) // 2048, int(c) // 16 % 128, int(c) % 16) for c in found)
    return types, type_of.astype(np.int16)


def _type(country: Country, kind: int, device_row: int, group: int) -> SiteType:
    device = country.devices[device_row]
    memory = device.memory_gb * group * USABLE_MEMORY
    may = [s if not s.kinds or SITE_KINDS[kind] in s.kinds else None for s in country.services]
    able = [s if s is not None and fits(s, device, group) else None for s in may]
    weights = sum(s.weight_bytes / 1e9 for s in able if s is not None)
    count = max(sum(s is not None for s in able), 1)
    rest = max(memory - weights, 0.0) / count
    costs = tuple(None if s is None else _cost(s, device, group, rest, memory) for s in able)
    return SiteType(device, group, kind, costs, memory)


def _cost(
    service: Service, device: Device, group: int, rest_gb: float, memory_gb: float
) -> ServiceCost | None:
    """With its weights and an equal part of the memory that all weights leave, for its cache.

    Where not all weights fit, those that do get a quarter on top for theirs.
    """
    own = service.weight_bytes / 1e9
    budget = min(own + rest_gb if rest_gb > 0.0 else 1.25 * own, memory_gb)
    together = 1
    while together < group and not fits(service, device, together):
        together *= 2
    cost = service_cost(service, device, together, budget / USABLE_MEMORY)
    return cost if cost.places > 0 else service_cost(service, device, together)


def _of_types(types, services, figure) -> Floats:  # type: ignore[no-untyped-def]
    values = np.full((len(services), len(types)), 1e9)
    for t, kind in enumerate(types):
        for s, service in enumerate(services):
            if kind.costs[s] is not None:
                values[s, t] = figure(kind.costs[s], service)
    return values


def _lost_s(cost: ServiceCost, service: Service) -> float:
    spared = min(service.shared_prefix_tokens * service.residency, service.prompt_tokens.mean)
    return spared * cost.prefill_s_per_token


def _value(service: Service) -> float:
    prices = (service.usd_per_m_prompt_tokens, service.usd_per_m_generated_tokens)
    return request_value_usd(service.prompt_tokens.mean, service.generated_tokens.mean, prices)


def _allowed(
    country: Country, types: tuple[SiteType, ...], type_of: NDArray[np.int16]
) -> NDArray[np.bool_]:
    network = country.network
    able = np.array([[c is not None for c in kind.costs] for kind in types])
    allowed = able[type_of].T & (network.devices > 0)[None, :]
    for s, service in enumerate(country.services):
        if service.regions:
            rows = [i for i, name in enumerate(network.regions) if name in service.regions]
            allowed[s] &= np.isin(network.region, rows)
    return allowed


def _preemption(country: Country, plan: Plan) -> Floats:
    parts = [
        np.nan if device.preemption_ms is None else device.preemption_ms / country.radio.deadline_ms
        for device in country.devices
    ]
    column = np.array(parts)[country.network.device]
    # A fixed partition is spatial, whatever the device could do; AI that never makes way in time
    # is no better.
    if plan.shares == FIXED:
        return np.full(len(column), np.nan)
    return np.where(column < 1.0, column, np.nan)


def _above(network: Network) -> NDArray[np.int32]:
    above = network.parent.copy()
    for _ in range(16):
        level = (above >= 0) & (network.kind[above] >= network.kind)
        if not level.any():
            break
        above[level] = network.parent[above[level]]
    return np.where((above >= 0) & (network.kind[above] < network.kind), above, -1).astype(np.int32)


def _above_ms(country: Country, above: NDArray[np.int32]) -> NDArray[np.float32]:
    network, path = country.network, country.path
    pairs = np.stack([np.arange(len(above), dtype=np.int32), above], axis=1)
    per_km = path.fibre_us_per_km * path.detour / 1e3
    hop = neighbours.hop_ms(
        pairs,
        network.latitude_deg,
        network.longitude_deg,
        network.parent,
        path.router_ms,
        per_km,
    )
    return np.ascontiguousarray(hop[:, 1])
