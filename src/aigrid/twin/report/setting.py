"""What a report says beside the figures: inputs with sources, promises, how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from aigrid.twin.country.scenario import Country
from aigrid.twin.models.device import Device
from aigrid.twin.models.service import Service, TokenLengths
from aigrid.twin.report.doubt import Doubt, doubt
from aigrid.twin.report.figures import NONE


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


@dataclass(frozen=True, slots=True)
class Published:
    """A published result beside ours.

    Attributes:
        name: what was measured or announced.
        published: value.
        ours: value; NaN where we have none.
        unit: of both.
        difference: of ours from the published, a part of it.
        why: they differ.
    """

    name: str
    published: float
    ours: float
    unit: str
    difference: float
    why: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """Published, ours and the difference as text."""
        apart = f"{self.difference:+.0%}" if math.isfinite(self.difference) else NONE
        return _measured(self.published, self.unit), _measured(self.ours, self.unit), apart


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page needs beside the rehearsal.

    Attributes:
        commit: of the code.
        command: that repeats it.
        ttft_slo_ms: service to the time to first token it promises.
        tpot_slo_ms: service to the time per output token it promises.
        inputs: parameters.
        published: results of others.
        doubt: the round trip's part; None where the country has no factory.
        region_labels: region to what people call it.
    """

    commit: str
    command: str
    ttft_slo_ms: Mapping[str, float] = field(default_factory=dict)
    tpot_slo_ms: Mapping[str, float] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    published: tuple[Published, ...] = ()
    doubt: Doubt | None = None
    region_labels: Mapping[str, str] = field(default_factory=dict)


def setting_of(
    country: Country,
    *,
    commit: str,
    command: str,
    published: tuple[Published, ...] = (),
    region_labels: Mapping[str, str] | None = None,
) -> Setting:
    """Setting of a country's rehearsal."""
    return Setting(
        commit=commit,
        command=command,
        ttft_slo_ms={service.name: service.ttft_slo_ms for service in country.services},
        tpot_slo_ms={service.name: service.tpot_slo_ms for service in country.services},
        inputs=inputs_of(country),
        published=published,
        doubt=doubt(country),
        region_labels=region_labels or {},
    )


def inputs_of(country: Country) -> tuple[Input, ...]:
    """Every parameter of a country that is a number, with its source."""
    sources = country.sources
    found = [
        *_rows("radio", "radio", country.radio, sources),
        *_rows("path", "path", country.path, sources),
        *_rows("money", "money", country.money, sources),
    ]
    for device in country.devices:
        found += _rows(f"device {device.name}", f"devices.{device.name}", device, sources)
    for service in country.services:
        found += _rows(f"service {service.name}", f"services.{service.name}", service, sources)
    plain = ("demand_spread", "bursts", "burst_factor", "burst_min", "queue_limit")
    times = ("minutes", "route_period_min", "place_period_min")
    found += [
        Input("day", name, _spelt(getattr(country, name)), _source(sources, name))
        for name in (*times, *plain)
    ]
    found += [Input("dials", name, _spelt(value)) for name, value in country.dials.items()]
    return tuple(found)


def _rows(group: str, key: str, values: Any, sources: Mapping[str, str]) -> list[Input]:
    own = values.source if isinstance(values, Device) else ""
    names = [f.name for f in fields(values) if f.name not in ("name", "source")]
    return [
        Input(
            group,
            name,
            _spelt(getattr(values, name)),
            _source(sources, f"{key}.{name}", key, name) or own,
        )
        for name in names
        if not (isinstance(values, Service) and getattr(values, name) == ())
    ]


def _source(sources: Mapping[str, str], *keys: str) -> str:
    return next((sources[key] for key in keys if key in sources), "")


def _measured(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return NONE
    if unit == "%":
        return f"{value:+.0f}%"
    return f"{value:,.4g} {unit}".rstrip()


def _spelt(value: Any) -> str:
    if isinstance(value, TokenLengths):
        low, mid, high = (
            value.quantiles[round(p * (len(value.quantiles) - 1))] for p in (0, 0.5, 1)
        )
        return f"mean {value.mean:,.0f} (from {low:,.0f}, half below {mid:,.0f}, up to {high:,.0f})"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, float) and value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}"
    if isinstance(value, bool | str) or value is None:
        return str(value) if value is not None else "none"
    return f"{value:,.10g}"
