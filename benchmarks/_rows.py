"""A row of a benchmark's table."""

from __future__ import annotations

from typing import Any


def entry(
    benchmark: str, figure: str, value: float, unit: str, limit: str, verdict: str, note: str
) -> dict[str, Any]:
    """One figure, as `python -m benchmarks` prints it; from 1 on to three places."""
    return {
        "benchmark": benchmark,
        "figure": figure,
        "value": round(float(value), 3) if abs(value) >= 1.0 else float(value),
        "unit": unit,
        "limit": limit,
        "verdict": verdict,
        "note": note,
    }
