"""Places the built-in country's sites: towers where people are, hubs among them, two factories.

Half of a prefecture's towers stand in its capital, a quarter in two smaller cities, the rest
anywhere around: a coarse picture, which `sites` of one's own replaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.japan import FACTORIES, PREFECTURES, REGIONS
from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.models.slots import site_compute_for_radio

KM_PER_DEGREE = 111.2
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the built-in country is given.

    Attributes:
        towers: how many.
        customers: of all towers together.
        towers_per_hub: about so many under one hub.
        hub_devices: computers of a hub.
        factory_devices: computers of a factory.
        regions: prefectures to build (`JP-13`); empty for all.
    """

    towers: int = 200_000
    customers: float = 55e6
    towers_per_hub: int = 400
    hub_devices: float = 8.0
    factory_devices: float = 2048.0
    regions: tuple[str, ...] = ()


def build(plan: Plan, radio: RadioModel, radio_shapes: tuple[str, ...], seed: int) -> Network:
    """A network as columns; device 0 is for towers, 1 for hubs, 2 for factories.

    Args:
        plan: how much of everything.
        radio: what a tower's computer is sized with.
        radio_shapes: four of them: city, suburb, road, entertainment area.
        seed: of where sites stand and how busy they are.
    """
    rng = np.random.default_rng([seed, 47])
    chosen = [
        n for n, r in zip(PREFECTURES, REGIONS, strict=True) if r in (plan.regions or REGIONS)
    ]
    people = np.array([PREFECTURES[n][0] for n in chosen])
    towers = _apportion(people, plan.towers)
    parts = [_prefecture(n, int(t), plan, rng) for n, t in zip(chosen, towers, strict=True)]
    hubs = sum(len(part.hub_latitude) for part in parts)
    first_hub = len(FACTORIES)
    factory = np.array([f[1:] for f in FACTORIES])
    latitude = np.concatenate(
        [factory[:, 0], *(p.hub_latitude for p in parts), *(p.latitude for p in parts)]
    )
    longitude = np.concatenate(
        [factory[:, 1], *(p.hub_longitude for p in parts), *(p.longitude for p in parts)]
    )
    count, head = len(latitude), first_hub + hubs
    kind = np.full(count, TOWER, np.int8)
    kind[:first_hub], kind[first_hub:head] = FACTORY, HUB
    parent = np.full(count, -1, np.int32)
    parent[first_hub:head] = _nearest(latitude[first_hub:head], longitude[first_hub:head], factory)
    offsets = first_hub + np.cumsum([0] + [len(p.hub_latitude) for p in parts])
    parent[head:] = np.concatenate([o + p.hub for o, p in zip(offsets, parts, strict=False)])
    region = np.concatenate(
        [[REGIONS.index(f[0]) for f in FACTORIES]]
        + [np.full(len(p.hub_latitude), n - 1) for n, p in zip(chosen, parts, strict=True)]
        + [np.full(len(p.latitude), n - 1) for n, p in zip(chosen, parts, strict=True)]
    ).astype(np.int16)
    cells = np.where(kind == TOWER, rng.choice([1, 2, 3, 3, 3, 6], count), 0).astype(np.int16)
    devices = np.where(kind == HUB, plan.hub_devices, plan.factory_devices).astype(np.float64)
    devices[head:] = site_compute_for_radio(radio, cells[head:])
    weight = np.zeros(count)
    weight[head:] = rng.lognormal(0.0, 0.5, count - head) * np.concatenate(
        [
            np.full(len(p.latitude), pop / len(p.latitude))
            for pop, p in zip(people, parts, strict=True)
        ]
    )
    shape = np.zeros(count, np.int8)
    shape[head:] = np.concatenate([p.shape for p in parts])
    return Network(
        names=_names(kind),
        kind=kind,
        region=region,
        latitude_deg=latitude,
        longitude_deg=longitude,
        parent=parent,
        device=np.where(kind == TOWER, 0, np.where(kind == HUB, 1, 2)).astype(np.int8),
        devices=devices,
        cells=cells,
        shape=(shape % len(radio_shapes)).astype(np.int8),
        peak_load=np.where(kind == TOWER, rng.uniform(0.15, 0.6, count), 0.0),
        customers=weight * plan.customers / weight.sum(),
        regions=REGIONS,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    latitude: Floats
    longitude: Floats
    shape: NDArray[np.int8]
    hub: NDArray[np.int32]
    hub_latitude: Floats
    hub_longitude: Floats


def _prefecture(number: int, towers: int, plan: Plan, rng: np.random.Generator) -> _Part:
    _, latitude, longitude, area = PREFECTURES[number]
    radius_km = np.sqrt(area / np.pi)
    # Capital, two smaller cities, and the land: centre and spread in kilometres.
    angle = rng.uniform(0.0, 2.0 * np.pi, 2)
    east = np.array([0.0, *(0.5 * radius_km * np.cos(angle)), 0.0])
    north = np.array([0.0, *(0.5 * radius_km * np.sin(angle)), 0.0])
    spread_km = np.array([8.0, 5.0, 5.0, 0.5 * radius_km])
    place = rng.choice(4, towers, p=[0.5, 0.15, 0.1, 0.25])
    x = east[place] + rng.normal(0.0, 1.0, towers) * spread_km[place]
    y = north[place] + rng.normal(0.0, 1.0, towers) * spread_km[place]
    # City centres are offices, land is roads, a few places live at night, the rest are homes.
    centre = np.hypot(x - east[place], y - north[place]) < 0.7 * spread_km[place]
    shape = np.where(place == 3, 2, np.where(centre & (place == 0), 0, 1))
    shape = np.where(rng.random(towers) < 0.04, 3, shape).astype(np.int8)
    hub, hubs = _hubs(x, y, plan.towers_per_hub)
    order = np.argsort(hub, kind="stable")
    x, y, shape, hub = x[order], y[order], shape[order], hub[order]
    lat, lon = _degrees(latitude, longitude, x, y)
    sums = np.bincount(hub, minlength=hubs)
    middle_lat = np.bincount(hub, lat, hubs) / sums
    middle_lon = np.bincount(hub, lon, hubs) / sums
    return _Part(lat, lon, shape, hub.astype(np.int32), middle_lat, middle_lon)


def _hubs(x: Floats, y: Floats, each: int) -> tuple[NDArray[np.int64], int]:
    """Cut the land into strips and the strips into blocks of about as many towers each."""
    hubs = max(1, round(len(x) / each))
    strips = max(1, round(np.sqrt(hubs)))
    per_strip = -(-hubs // strips)
    strip = _ranks(x) * strips // len(x)
    block = np.zeros(len(x), np.int64)
    for number in range(strips):
        inside = strip == number
        block[inside] = _ranks(y[inside]) * per_strip // max(int(inside.sum()), 1)
    _, hub = np.unique(strip * per_strip + block, return_inverse=True)
    return hub, int(hub.max()) + 1


def _ranks(values: Floats) -> NDArray[np.int64]:
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _apportion(people: Floats, towers: int) -> NDArray[np.int64]:
    """Towers by population, largest remainders first, one at least each."""
    exact = people / people.sum() * towers
    whole: NDArray[np.int64] = np.maximum(exact.astype(np.int64), 1)
    missing = towers - int(whole.sum())
    if missing > 0:
        whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole


def _degrees(latitude: float, longitude: float, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    east = KM_PER_DEGREE * np.cos(np.radians(latitude))
    return latitude + y / KM_PER_DEGREE, longitude + x / east


def _nearest(latitude: Floats, longitude: Floats, factory: Floats) -> NDArray[np.int64]:
    away = [
        np.hypot(latitude - lat, (longitude - lon) * np.cos(np.radians(lat)))
        for lat, lon in factory
    ]
    nearest: NDArray[np.int64] = np.argmin(away, axis=0)
    return nearest


def _names(kind: NDArray[np.int8]) -> NDArray[np.str_]:
    numbers = np.concatenate([np.arange((kind == k).sum()) for k in (FACTORY, HUB, TOWER)]) + 1
    words = np.array(["factory-", "hub-", "tower-"])[kind]
    names: NDArray[np.str_] = np.char.add(words, numbers.astype(str))
    return names
