"""Axes: from values to points of a drawing, and where the ticks go."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight or logarithmic scale.

    Attributes:
        low: smallest value.
        high: largest value, above `low`.
        start: point of `low`.
        end: point of `high`.
        is_log: logarithmic; then `low` is above 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Point of a value; values outside are drawn at the edge."""
        inside = min(max(value, self.low), self.high)
        low, high = self._scaled(self.low), self._scaled(self.high)
        part = (self._scaled(inside) - low) / (high - low)
        return self.start + part * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def nice_ticks(high: float, wanted: int = 5) -> list[float]:
    """Round steps of 1, 2 or 5 from 0 to at least `high`."""
    if not high > 0.0 or not math.isfinite(high):
        return [0.0, 1.0]
    rough = high / wanted
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * size >= rough * 0.999)
    return [step * i for i in range(math.ceil(high / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten from at or below `low` to at or above `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]
