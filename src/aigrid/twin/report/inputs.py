"""Every parameter of a country as a row with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.scenario import Country
from aigrid.twin.models.device import Device
from aigrid.twin.models.service import Service, TokenLengths

# Fields that stand elsewhere on the page, or say nothing.
_LEFT_OUT = ("name", "source")
_LENGTHS = ("prompt_tokens", "generated_tokens")
# Sources of a scenario file are named by group; these groups have the values of one.
_DEMAND, _OF_LENGTHS = "demand", "lengths"
_DAY = (
    *("minutes", "route_period_min", "place_period_min", "demand_spread", "bursts"),
    *("burst_factor", "burst_min", "queue_limit"),
)


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter.

    Attributes:
        group: heading it stands under.
        name: as in the scenario file.
        value: as text.
        source: where it comes from; empty where the scenario does not say.
    """

    group: str
    name: str
    value: str
    source: str = ""


def inputs_of(country: Country) -> tuple[Input, ...]:
    """Every parameter, by group; sources that fit no parameter stand with the sites."""
    sources = country.sources
    found = [*_sites(country), *_rows("radio", country.radio, sources)]
    found += [*_rows("path", country.path, sources), *_rows("money", country.money, sources)]
    for device in dict.fromkeys(country.devices):
        found += _rows(f"device {device.name}", device, sources)
    for service in country.services:
        found += _rows(f"service {service.name}", service, sources)
    found += [
        Input("day", name, _spelt(getattr(country, name)), _source(sources, name, _DEMAND))
        for name in _DAY
    ]
    found += [Input("dials", name, _spelt(value)) for name, value in country.dials.items()]
    return tuple(found)


def _sites(country: Country) -> list[Input]:
    network, sources = country.network, country.sources
    told = {"radio", "path", "money", _DEMAND, _OF_LENGTHS}
    found = [
        Input(
            "sites",
            kind,
            f"{np.count_nonzero(here):,} with {network.devices[here].sum():,.0f} devices, "
            f"{network.cells[here].sum():,} cells",
            _source(sources, "sites"),
        )
        for row, kind in enumerate(SITE_KINDS)
        if (here := network.kind == row).any()
    ]
    rest = [key for key in sources if key not in told | {"sites"} and "." not in key]
    return found + [Input("sites", key, "", sources[key]) for key in rest]


def _rows(group: str, values: Any, sources: Mapping[str, str]) -> list[Input]:
    names = [f.name for f in fields(values) if f.name not in _LEFT_OUT]
    return [
        Input(group, name, _spelt(value), _source_of(group, name, values, sources))
        for name in names
        if (value := getattr(values, name)) != ()
    ]


def _source_of(group: str, name: str, values: Any, sources: Mapping[str, str]) -> str:
    own = _source(sources, f"{group}.{name}", group)
    if isinstance(values, Device):
        return own or values.source
    if isinstance(values, Service):
        return own or _source(sources, _OF_LENGTHS if name in _LENGTHS else _DEMAND)
    return own


def _source(sources: Mapping[str, str], *keys: str) -> str:
    return next((sources[key] for key in keys if key in sources), "")


def _spelt(value: Any) -> str:
    if isinstance(value, TokenLengths):
        low, mid, high = value.at(np.array([0.0, 0.5, 1.0]))
        if low == high:
            return f"{low:,.0f}"
        return f"mean {value.mean:,.0f} (from {low:,.0f}, half below {mid:,.0f}, up to {high:,.0f})"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, float) and value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}"
    if isinstance(value, str) or value is None:
        return value or "none"
    return f"{value:,.10g}"
