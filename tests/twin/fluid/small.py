"""A small made-up country: a factory, hubs and towers on a plane, two services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.scenario import Country, Money, NetworkPath, RadioModel
from aigrid.twin.models.devices import known
from aigrid.twin.models.lengths import fixed
from aigrid.twin.models.lengths import from_counts as _from_counts
from aigrid.twin.models.service import Service

RADIO = RadioModel(
    slot_ms=0.5,
    deadline_ms=0.5,
    fixed=0.03,
    per_load=0.25,
    burstiness=0.8,
    spread=0.87,
    memory=0.965,
    headroom=0.1,
)


def service(name: str = "chat", **changes: Any) -> Service:
    """A chat of a model of a billion weights, or with changes."""
    values: dict[str, Any] = {
        "name": name,
        "parameters": 1e9,
        "memory_parameters": 1e9,
        "bytes_per_weight": 1.0,
        "kv_bytes_per_token": 32_768.0,
        "prompt_tokens": _from_counts(np.linspace(50.0, 1000.0, 200)),
        "generated_tokens": _from_counts(np.linspace(10.0, 300.0, 200)),
        "shared_prefix_tokens": 200.0,
        "residency": 0.5,
        "ttft_slo_ms": 300.0,
        "tpot_slo_ms": 50.0,
        "requests_per_customer_day": 40.0,
        "shape": "conversation",
        "usd_per_m_prompt_tokens": 0.1,
        "usd_per_m_generated_tokens": 0.4,
    }
    return Service(**(values | changes))


def vision(**changes: Any) -> Service:
    """A look at a frame."""
    values = {
        "parameters": 2e8,
        "memory_parameters": 2e8,
        "kv_bytes_per_token": 0.0,
        "prompt_tokens": fixed(256.0),
        "generated_tokens": fixed(1.0),
        "shared_prefix_tokens": 0.0,
        "residency": 0.0,
        "ttft_slo_ms": 60.0,
        "requests_per_customer_day": 200.0,
        "shape": "roads",
    }
    return service(**({"name": "vision"} | values | changes))


def network(towers: int = 120, hubs: int = 4, customers: float = 300.0) -> Network:
    """Towers on a grid of about a km, in blocks that belong to a hub each."""
    chance = np.random.default_rng(5)
    count = 1 + hubs + towers
    kind = np.full(count, TOWER, np.int8)
    kind[0], kind[1 : 1 + hubs] = FACTORY, HUB
    of = np.arange(towers) * hubs // towers
    parent = np.concatenate(([-1], np.zeros(hubs), 1 + of)).astype(np.int32)
    at = np.arange(towers)
    latitude = np.concatenate(
        ([35.0], 34.5 + np.arange(hubs) * 0.3, 34.5 + of * 0.3 + 0.01 * (at % 7))
    )
    longitude = np.concatenate(([139.0], np.full(hubs, 136.0), 136.0 + 0.01 * (at % 11)))
    cells = np.where(kind == TOWER, 3 + np.arange(count) % 4, 0).astype(np.int16)
    radio_devices = cells * (RADIO.fixed + RADIO.per_load) * (1.0 + RADIO.headroom)
    devices = np.where(kind == TOWER, radio_devices, np.where(kind == HUB, 4.0, 8.0))
    here = np.where(kind == TOWER, customers * (0.5 + chance.random(count)), 0.0)
    return Network(
        names=np.array([f"site-{i}" for i in range(count)]),
        kind=kind,
        region=np.concatenate(([0], np.arange(hubs) % 2, of % 2)).astype(np.int16),
        latitude_deg=latitude,
        longitude_deg=longitude,
        parent=parent,
        device=np.where(kind == TOWER, 0, 1).astype(np.int8),
        devices=devices,
        cells=cells,
        shape=(np.arange(count) % 2).astype(np.int8),
        peak_load=np.where(kind == TOWER, 0.35, 0.0),
        customers=here,
        regions=("JP-13", "JP-14"),
    )


def country(**changes: Any) -> Country:
    """Two hours of it, unless told otherwise."""
    values: dict[str, Any] = {
        "name": "small",
        "network": network(),
        "devices": (known("l4"), known("h100")),
        "services": (service(), vision()),
        "radio_shapes": ("home", "office"),
        "radio": RADIO,
        "path": NetworkPath(8.0, 0.3, 4.9, 1.4, 10.0, 0.4, 6.0),
        "money": Money(0.15, 1.3, 5.0, 0.05, 2000.0, 300.0),
        "minutes": 120,
        "place_period_min": 30,
    }
    return Country(**(values | changes))


def busy(**changes: Any) -> Country:
    """So many requests that towers are short of compute now and then."""
    services = (
        service(requests_per_customer_day=1500.0),
        vision(requests_per_customer_day=6000.0),
    )
    return country(**({"services": services} | changes))


def generous(real: Callable[..., object]) -> Callable[..., None]:
    """`guarded.set_shares`, but that AI gets all of each site."""

    def spoilt(*given: object) -> None:
        real(*given)
        share = given[-1]
        assert isinstance(share, np.ndarray)
        share[:] = 1.0

    return spoilt
