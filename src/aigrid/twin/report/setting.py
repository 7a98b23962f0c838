"""What a report says beside the figures: inputs with sources, promises, how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from aigrid.twin.country.scenario import Country
from aigrid.twin.report.doubt import Doubt, doubt
from aigrid.twin.report.figures import NONE
from aigrid.twin.report.inputs import Input, inputs_of
from aigrid.twin.report.prefectures import LABELS


@dataclass(frozen=True, slots=True)
class Published:
    """A published result beside ours.

    Attributes:
        name: what was measured or announced.
        published: value.
        ours: value; NaN where we have none.
        unit: of both.
        difference: of ours from the published, a part of it; NaN where there is none.
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
        apart = NONE
        if math.isfinite(self.difference):
            points = self.ours - self.published
            in_points = self.unit.startswith("%")
            apart = f"{points:+,.0f} points" if in_points else f"{self.difference:+,.0%}"
        return _measured(self.published, self.unit), _measured(self.ours, self.unit), apart


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page needs beside the rehearsal.

    Attributes:
        commit: of the code.
        command: that repeats it.
        promised: `ttft_ms:SERVICE` and, of services that make more than one token,
            `tpot_ms:SERVICE` to what they promise.
        inputs: parameters.
        published: results of others.
        doubt: the round trip's part; None where the country has no factory.
        region_labels: region to what people call it.
    """

    commit: str
    command: str
    promised: Mapping[str, float] = field(default_factory=dict)
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
    language: str = "en",
) -> Setting:
    """Setting of a country's rehearsal."""
    return Setting(
        commit=commit,
        command=command,
        promised=promised_of(country),
        inputs=inputs_of(country),
        published=published,
        doubt=doubt(country),
        region_labels=LABELS[language],
    )


def promised_of(country: Country) -> dict[str, float]:
    """What the services promise; a single token has no time between tokens."""
    first = {f"ttft_ms:{service.name}": service.ttft_slo_ms for service in country.services}
    return first | {
        f"tpot_ms:{service.name}": service.tpot_slo_ms
        for service in country.services
        if service.generated_tokens.mean > 1.0
    }


def _measured(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return NONE
    if unit == "%":
        return f"{value:+,.0f}%"
    if unit.startswith("% "):
        return f"{value:,.0f}{unit}"
    digits = f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()
