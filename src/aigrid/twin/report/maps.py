"""A country's regions as bubbles near where they are, none on top of another (Dorling, 1996)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIZE = 560
MARGIN = 12
STEPS = 7
# Bubbles cover this part of the drawing together.
_COVER = 0.17
_ROUNDS = 300
_GAP = 1.5
_LABEL_RADIUS = 15.0


@dataclass(frozen=True, slots=True)
class Bubbles:
    """Where regions are drawn.

    Attributes:
        x: (R,) points.
        y: (R,) points.
        radius: (R,) points.
        width: of the drawing.
        height: of the drawing.
    """

    x: Floats
    y: Floats
    radius: Floats
    width: float
    height: float


def bubbles(latitude_deg: Floats, longitude_deg: Floats, weight: Floats) -> Bubbles:
    """Place a bubble for each region.

    Longitudes are shortened by the cosine of the middle latitude (equirectangular projection).
    Overlapping bubbles push each other away, and a weak spring pulls each back to its place; a
    fixed number of rounds, so that the same country gives the same map.

    Args:
        latitude_deg: (R,) WGS 84.
        longitude_deg: (R,).
        weight: (R,) 0 or above; areas are in proportion.
    """
    middle = np.radians((latitude_deg.max() + latitude_deg.min()) / 2.0)
    east, north = longitude_deg * np.cos(middle), latitude_deg
    extent = max(np.ptp(east), np.ptp(north), 1e-9)
    inner = SIZE - 8 * MARGIN
    home_x = (east - east.min()) / extent * inner
    home_y = (north.max() - north) / extent * inner
    area = np.maximum(weight, 0.0) + 1e-12
    area = np.maximum(area / area.sum(), 0.15 / len(area))
    radius = np.sqrt(area / area.sum() * _COVER * SIZE * SIZE / np.pi)
    x, y = _apart(home_x, home_y, radius)
    x, y = x - (x - radius).min() + MARGIN, y - (y - radius).min() + MARGIN
    width, height = (float((at + radius).max()) + MARGIN for at in (x, y))
    return Bubbles(x, y, radius, width, height)


def _apart(home_x: Floats, home_y: Floats, radius: Floats) -> tuple[Floats, Floats]:
    x, y = home_x.copy(), home_y.copy()
    room = radius[:, None] + radius[None, :] + _GAP
    # Two regions at one point part along a line that depends on their rows only.
    angle = np.arange(len(x)) * 2.399963
    for turn in range(_ROUNDS):
        dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
        far = np.hypot(dx, dy)
        at_one_point = far < 1e-9
        dx = np.where(at_one_point, np.cos(angle)[:, None], dx)
        dy = np.where(at_one_point, np.sin(angle)[:, None], dy)
        push = np.maximum(room - far, 0.0) / np.where(at_one_point, 1.0, far) * 0.25
        np.fill_diagonal(push, 0.0)
        pull = 0.03 * (1.0 - turn / _ROUNDS)
        x = x + (push * dx).sum(axis=1) + pull * (home_x - x)
        y = y + (push * dy).sum(axis=1) + pull * (home_y - y)
    return x, y


def steps(values: Floats, low: float, high: float) -> list[int]:
    """Colour of each value: 0 to 6 from `low` to `high`, -1 where there is none."""
    width = max(high - low, 1e-300)
    part = np.where(np.isfinite(values), (values - low) / width * STEPS, -1.0)
    return [int(p) if 0 <= p < STEPS else STEPS - 1 if p >= STEPS else -1 for p in part]


def bubble_map(drawn: Bubbles, labels: Sequence[str], colours: Sequence[int], told: str) -> Markup:
    """The map; `colours` as `steps` has them, which a script may change by `data-region`."""
    circle = Markup(
        '<g class="region" tabindex="-1" data-region="{}"><circle class="s{}" cx="{:.1f}" '
        'cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>{}</g>'
    )
    marks = [
        circle.format(i, colours[i], *_at(drawn, i), label, _label(drawn, i, label, colours[i]))
        for i, label in enumerate(labels)
    ]
    return Markup(
        '<svg class="map" id="map" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>'
    ).format(drawn.width, drawn.height, told, Markup("").join(marks))


def _at(drawn: Bubbles, row: int) -> tuple[float, float, float]:
    return float(drawn.x[row]), float(drawn.y[row]), float(drawn.radius[row])


def _label(drawn: Bubbles, row: int, label: str, colour: int) -> Markup:
    x, y, radius = _at(drawn, row)
    size = min(13.0, 2.7 * radius / max(len(label), 1))
    if radius < _LABEL_RADIUS or size < 8.0:
        return Markup("")
    return Markup('<text class="t{}" x="{:.1f}" y="{:.1f}" font-size="{:.1f}">{}</text>').format(
        colour, x, y + size * 0.35, size, label
    )
