"""The doubters' case: how much of the time to first token is the network at all?

Nobody else on the device and no line: the case in which distance matters most. The round trip to a
factory is set against prefill and first token there (`models.roofline`), and the whole against the
same model at the tower, on its own smaller device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aigrid.twin.country.network import FACTORY, TOWER
from aigrid.twin.country.scenario import Country
from aigrid.twin.models import path, roofline
from aigrid.twin.models.calibration import bare_service
from aigrid.twin.models.device import Device

PROMPTS = (16, 128, 512, 2048, 8192, 32768)
# Name, weights, layers, width: from the models' published configurations (ViT-B/16, Llama 3.x).
Model = tuple[str, float, int, int]
MODELS: tuple[Model, ...] = (
    ("0.1 B", 0.086e9, 12, 768),
    ("1 B", 1.24e9, 16, 2048),
    ("3 B", 3.21e9, 28, 3072),
    ("8 B", 8.03e9, 32, 4096),
    ("70 B", 70.6e9, 80, 8192),
)
_HOPS = 2  # tower to hub, hub to factory
_KEYS = 1024  # grouped heads: cached width of keys, and of values


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row for each model, a column for each prompt length.

    Attributes:
        models: names.
        prompts: tokens.
        part: round trip to the factory over TTFT there, 0 to 1; None where it does not fit.
        gain_ms: TTFT at the factory minus at the tower; None where it does not fit at the tower.
        factory: its device.
        tower: its device.
        km: mean distance of customers from their factory.
        round_trip_ms: to it and back.
    """

    models: tuple[str, ...]
    prompts: tuple[int, ...]
    part: tuple[tuple[float | None, ...], ...]
    gain_ms: tuple[tuple[float | None, ...], ...]
    factory: str
    tower: str
    km: float
    round_trip_ms: float


def doubt(country: Country) -> Doubt | None:
    """The comparison for a country; None where it has no factory or no tower."""
    network = country.network
    factories = np.flatnonzero(network.kind == FACTORY)
    towers = np.flatnonzero(network.kind == TOWER)
    if not len(factories) or not len(towers):
        return None
    away_km = distance_km(country)
    delays = country.path
    fibre = (delays.router_ms, delays.fibre_us_per_km, delays.detour)
    far_ms = path.round_trip_ms(delays.radio_ms, path.one_way_ms(away_km, _HOPS, *fibre), 0.0)
    near_ms = path.round_trip_ms(delays.radio_ms, 0.0, 0.0)
    central = country.devices[int(network.device[factories[0]])]
    local = country.devices[_commonest(network.device[towers])]
    cells = [[_cell(m, p, central, local, far_ms, near_ms) for p in PROMPTS] for m in MODELS]
    return Doubt(
        tuple(model[0] for model in MODELS),
        PROMPTS,
        tuple(tuple(part for part, _ in row) for row in cells),
        tuple(tuple(gain for _, gain in row) for row in cells),
        central.name,
        local.name,
        away_km,
        far_ms,
    )


def distance_km(country: Country) -> float:
    """Mean distance of customers from the root above their tower."""
    network = country.network
    towers = np.flatnonzero(network.kind == TOWER)
    root = towers.copy()
    for _ in range(len(("factory", "hub", "tower"))):
        above = network.parent[root]
        root = np.where(above >= 0, above, root)
    weight = np.maximum(network.customers[towers], 1e-12)
    lat, lon = network.latitude_deg, network.longitude_deg
    km = path.distance_km(lat[towers], lon[towers], lat[root], lon[root])
    return float((km * weight).sum() / weight.sum())


def _commonest(values: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> int:
    return int(np.bincount(values).argmax())


def _cell(
    model: Model,
    prompt: int,
    central: Device,
    local: Device,
    far_ms: float,
    near_ms: float,
) -> tuple[float | None, float | None]:
    there = first_token_ms(model, prompt, central)
    here = first_token_ms(model, prompt, local)
    if there is None:
        return None, None
    gain = None if here is None else far_ms + there - near_ms - here
    return far_ms / (far_ms + there), gain


def first_token_ms(model: Model, prompt: int, device: Device) -> float | None:
    """Prefill and one step, one byte a weight, nobody else on the device; None: it does not fit."""
    name, weights, layers, width = model
    cached = 2.0 * layers * min(width, _KEYS)
    service = bare_service(name, weights, 1.0, cached, 4.0 * layers * width, prompt, 1)
    if not roofline.fits(service, device):
        return None
    return 1e3 * (roofline.prefill_s(service, device, prompt) + roofline.step_s(service, device, 1))
