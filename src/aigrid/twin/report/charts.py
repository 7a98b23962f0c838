"""Lines over a day and distributions, as SVG that a stylesheet colours.

Every drawing has a title and a description for who cannot see it, and its axes' ends as `data-`
attributes, from which the page's script reads values back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from aigrid.twin.report.figures import ms
from aigrid.twin.report.scales import Axis, decades, nice_ticks

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 12, 34
POINTS = 288
# Distributions are drawn from here on: what fewer requests see is no feature.
_FEWEST = 1e-3


@dataclass(frozen=True, slots=True)
class Line:
    """One policy in a drawing.

    Attributes:
        name: of the policy.
        place: among the policies; chooses colour and dashes.
        x: (P,) values.
        y: (P,) values.
    """

    name: str
    place: int
    x: Floats
    y: Floats


def day_chart(
    lines: Sequence[Line], title: str, spelt: Callable[[float], str], kind: str
) -> Markup:
    """Lines over hours.

    Args:
        lines: x in hours.
        title: of the drawing.
        spelt: a value as text.
        kind: `share` or `count`, for the script that reads values back.
    """
    hours = max((float(line.x[-1] + line.x[0]) for line in lines), default=24.0)
    tops = [float(np.nanmax(line.y)) for line in lines if len(line.y)]
    ticks = nice_ticks(max(tops, default=1.0))
    x = Axis(0.0, max(hours, 1e-9), LEFT, WIDTH - RIGHT)
    y = Axis(0.0, ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        _grid_y(y, ticks, lambda v: spelt(v).replace(".0%", "%")),
        *_hours(x),
        *(_line(line, x, y) for line in lines),
    ]
    peaks = "; ".join(f"{line.name} up to {spelt(float(np.nanmax(line.y)))}" for line in lines)
    return _drawing(title, f"{title} over the day: {peaks}.", parts, _ends(x, y, "hour", kind))


def distribution_chart(lines: Sequence[Line], title: str, limit_ms: float | None) -> Markup:
    """Parts of requests by time, on a logarithmic axis, with the time promised.

    Args:
        lines: x in ms, increasing; y from 0 to 1.
        title: of the drawing.
        limit_ms: promised; None where nothing was.
    """
    low, high = _range_ms(lines, limit_ms)
    ticks = decades(low, high)
    x = Axis(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT, is_log=True)
    y = Axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    parts = [_grid_y(y, [0.0, 0.25, 0.5, 0.75, 1.0], lambda v: f"{v:.0%}"), *_times(x, ticks)]
    if limit_ms is not None:
        parts.append(_limit(x.at(limit_ms), limit_ms))
    parts += [_line(line, x, y) for line in lines]
    medians = "; ".join(f"{line.name} median {ms(median(line))} ms" for line in lines)
    return _drawing(
        title, f"Distribution of {title}: {medians}.", parts, _ends(x, y, "ms", "share")
    )


def median(line: Line) -> float:
    """Where a distribution reaches one half."""
    return float(line.x[min(int(np.searchsorted(line.y, 0.5)), len(line.x) - 1)])


def thinned(values: Floats, minutes: int, points: int = POINTS) -> tuple[Floats, Floats]:
    """Values that divide `minutes` evenly as at most `points` means: hours of middles, means."""
    size = max(1, -(-len(values) // points))
    starts = np.arange(0, len(values), size)
    counts = np.diff(np.append(starts, len(values)))
    means = np.add.reduceat(np.asarray(values, np.float64), starts) / counts
    return (starts + counts / 2.0) * minutes / len(values) / 60.0, means


def _range_ms(lines: Sequence[Line], limit_ms: float | None) -> tuple[float, float]:
    inner = [line.x[(line.y > _FEWEST) & (line.y < 1.0 - _FEWEST)] for line in lines]
    seen = np.concatenate([*inner, [limit_ms or 100.0]])
    seen = seen[np.isfinite(seen) & (seen > 0.0)]
    return float(seen.min()), float(seen.max())


def _line(line: Line, x: Axis, y: Axis) -> Markup:
    points = [
        f"{x.at(float(a)):.1f},{y.at(float(b)):.1f}"
        for a, b in zip(line.x, line.y, strict=True)
        if np.isfinite(b)
    ]
    return Markup(
        '<path class="line p{}" data-policy="{}" d="M{}"><title>{}</title></path>'
    ).format(line.place, line.name, "L".join(_without_repeats(points)), line.name)


def _without_repeats(points: list[str]) -> Iterable[str]:
    return (p for i, p in enumerate(points) if i == 0 or p != points[i - 1])


def _grid_y(y: Axis, ticks: Sequence[float], spelt: Callable[[float], str]) -> Markup:
    row = Markup(
        '<path class="grid" d="M{} {:.1f}H{}"/><text class="y" x="{}" y="{:.1f}">{}</text>'
    )
    return Markup("").join(
        row.format(LEFT, y.at(v), WIDTH - RIGHT, LEFT - 6, y.at(v) + 4, spelt(v)) for v in ticks
    )


def _tick_x(at: float, text: str) -> Markup:
    return Markup('<text class="x" x="{:.1f}" y="{}">{}</text>').format(at, HEIGHT - 12, text)


def _hours(x: Axis) -> list[Markup]:
    step = next((s for s in (1, 2, 3, 6, 12, 24, 48) if x.high / s <= 8), 96)
    if x.high < 3:
        minutes = [m for m in range(0, 181, 15) if m / 60 <= x.high + 1e-9]
        return [_tick_x(x.at(m / 60), f"{m // 60}:{m % 60:02d}") for m in minutes]
    hours = range(0, round(x.high) + 1, step)
    return [_tick_x(x.at(h), f"{h % 24 if h != 24 else 24}:00") for h in hours]


def _times(x: Axis, ticks: Sequence[float]) -> list[Markup]:
    line = Markup('<path class="grid" d="M{:.1f} {}V{}"/>')
    marks = [line.format(x.at(v), TOP, HEIGHT - BOTTOM) for v in ticks]
    return marks + [_tick_x(x.at(v), _time(v)) for v in ticks]


def _time(value_ms: float) -> str:
    return f"{value_ms:g} ms" if value_ms < 1000 else f"{value_ms / 1000:g} s"


def _limit(at: float, limit_ms: float) -> Markup:
    anchor, x = ("end", at - 5) if at > (LEFT + WIDTH) / 2 else ("start", at + 5)
    return Markup(
        '<path class="limit" d="M{:.1f} {}V{}"/>'
        '<text class="limit-text" x="{:.1f}" y="{}" text-anchor="{}">SLO {} ms</text>'
    ).format(at, TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM - 7, anchor, ms(limit_ms))


def _ends(x: Axis, y: Axis, across: str, kind: str) -> str:
    ends = (x.low, x.high, x.start, x.end, y.low, y.high, y.start, y.end)
    return " ".join([across, kind, *(f"{end:g}" for end in ends)])


def _drawing(title: str, told: str, parts: Iterable[Markup], ends: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-ends="{}">'
        "<desc>{}</desc>{}</svg>"
    ).format(WIDTH, HEIGHT, told, ends, title, Markup("").join(parts))
