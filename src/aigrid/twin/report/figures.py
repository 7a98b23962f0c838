"""The figures of a rehearsal for people: names, meaning, spelling, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["low", "high", ""]
NONE = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rate(value: float) -> str:
    """A small probability: `3.2×10⁻⁶`, `10⁻⁵`; `0` where it never happened."""
    if not math.isfinite(value):
        return NONE
    if value == 0.0:
        return "0"
    if value >= 1e-3:
        return share(value)
    power = math.floor(math.log10(value))
    digits = f"{value / 10.0**power:.1f}"
    if digits == "10.0":
        digits, power = "1.0", power + 1
    lead = "" if digits == "1.0" else f"{digits}×"
    return f"{lead}10{str(power).translate(_SUPERSCRIPT)}"


def share(value: float) -> str:
    """A part of a whole: `33.4%`; two digits more where it is nearly all or nearly nothing."""
    if not math.isfinite(value):
        return NONE
    percent = 100.0 * value
    if abs(percent) >= 1000.0:
        return f"{percent:,.0f}%"
    nearly = 0.0 < percent < 0.1 or 99.9 < percent < 100.0
    return f"{percent:.3f}%" if nearly else f"{percent:.1f}%"


def count(value: float) -> str:
    """A number that may be large: `950`, `12.3k`, `4.56M`, `1.20bn`."""
    if not math.isfinite(value):
        return NONE
    for size, letter in ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if letter == "k" else size)
            return f"{scaled:.{2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0}f}{letter}"
    return f"{value:,.0f}"


def ms(value: float) -> str:
    """Milliseconds: `7.3`, `245`, `12,300`."""
    if not math.isfinite(value):
        return NONE
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def mwh(value: float) -> str:
    """Kilowatt hours in MWh: `0.043`, `12.3`, `1,235`."""
    if not math.isfinite(value):
        return NONE
    return f"{value / 1e3:,.{3 if value < 1e3 else 1 if value < 1e5 else 0}f}"


def simulated(minutes: int) -> str:
    """Simulated time: `24 h`, `90 min`."""
    return f"{minutes // 60:,} h" if minutes % 60 == 0 and minutes > 60 else f"{minutes} min"


def usd(value: float) -> str:
    """Money: `$0.42`, `$1,230`, `$4.56bn`."""
    if not math.isfinite(value):
        return NONE
    sign, size = ("-" if value < 0 else ""), abs(value)
    return f"{sign}${size:,.2f}" if size < 1000 else f"{sign}${count(size)}"


def ratio(value: float) -> str:
    """A plain ratio: `0.84`."""
    return NONE if not math.isfinite(value) else f"{value:,.2f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One column of the table.

    Attributes:
        name: as in `outcome.FIGURES`.
        title: at the head of the column.
        unit: under it; empty for parts of a whole.
        spelt: a value as text.
        better: which way; empty where neither is.
    """

    name: str
    title: str
    unit: str
    spelt: Callable[[float], str]
    better: Better


COLUMNS = (
    Figure("radio_miss_rate", "radio missed", "of slots", rate, "low"),
    Figure("slo_attainment", "SLO met", "of requests", share, "high"),
    Figure("utilisation_mean", "busy", "of compute", share, ""),
    Figure("utilisation_radio_only", "radio alone", "of towers", share, ""),
    Figure("idle_reclaimed", "reclaimed", "of idle", share, "high"),
    Figure("tokens_per_s_mean", "tokens", "a second", count, "high"),
    Figure("requests", "requests", "", count, ""),
    Figure("served", "served", "", count, "high"),
    Figure("refused", "refused", "", count, "low"),
    Figure("ttft_ms_p50", "TTFT p50", "ms", ms, "low"),
    Figure("ttft_ms_p99", "TTFT p99", "ms", ms, "low"),
    Figure("energy_kwh", "energy", "MWh", mwh, "low"),
    Figure("cost_per_mtok", "cost", "per Mtok", usd, "low"),
    Figure("revenue_per_capex", "revenue", "per $", usd, "high"),
)


def best(figure: Figure, values: Sequence[float]) -> set[int]:
    """Positions of the best values; none where all are alike or neither way is better."""
    spelt = [figure.spelt(value) for value in values]
    known = [value for value in values if math.isfinite(value)]
    if not figure.better or len(known) < 2 or len(set(spelt)) < 2:
        return set()
    top = figure.spelt(min(known) if figure.better == "low" else max(known))
    return {place for place, text in enumerate(spelt) if text == top}
