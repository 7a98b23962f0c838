"""The weather of a recorded run: what else the machine did, and how fast its cores were.

A grid on a shared machine is slowed by what does not belong to it, as a grid of towers is by the
radio's load. No model of a grid can know it, so it is an input of the whole run, like the arrivals.
It was measured beside the grid (`live.machine_log`): processor time of others and of the radios,
threads in line, and two fixed computations. No latency and no engine's time of the predicted part
goes into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.mirror.recorded import RecordedRun

BIN_S = 0.2
# Instants of a line are few: over this long they are a mean.
SMOOTH_BINS = 5
# A machine with less of its time idle than this is full: who waits counts too, not only who runs.
FULL = 0.95
# Readings that lie further apart leave the weather unknown.
GAP_S = 2.0
Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weather:
    """What a grid's machine did beside its engines.

    Attributes:
        from_s: when the first bin begins, recorded time.
        cores: of the machine.
        crowd: (T,) threads of others, of the radios and of the grid's own network and control that
            run or wait to, in each `BIN_S`.
        slower: (T,) how many times longer a core takes than in the first part.
    """

    from_s: float
    cores: int
    crowd: Column
    slower: Column

    def at(self, column: Column, at_s: NDArray[np.floating]) -> Column:
        """Values of a column at recorded times; the nearest outside of the recording."""
        bins = np.floor((at_s - self.from_s) / BIN_S).astype(np.int64)
        found: Column = column[np.clip(bins, 0, len(column) - 1)]
        return found

    def mean(self, column: Column, from_s: float, until_s: float) -> float:
        """Mean of a column between two times."""
        count = max(1, round((until_s - from_s) / BIN_S))
        at_s = from_s + (np.arange(count) + 0.5) * BIN_S
        return float(self.at(column, at_s).mean())

    def takes(self, crowding: float, from_s: float, until_s: float) -> float:
        """How many times its processor time an engine alone at work takes between two times."""
        at_s = np.arange(from_s, until_s, BIN_S)
        crowd = crowding * self.at(self.crowd, at_s)
        lasts = np.maximum(1.0, (1.0 + crowd) / self.cores) * self.at(self.slower, at_s)
        return float(lasts.mean())


def weather_of(run: RecordedRun, fitted: tuple[float, float]) -> Weather | None:
    """The weather of a recording; None for one that did not measure it throughout.

    Args:
        run: the recording.
        fitted: the first part: what the grid itself takes beside its engines is learnt from there.
    """
    rows = run.machine
    begin_s, end_s = run.requests[0].at_s, run.requests[-1].at_s
    if not rows or rows[0].at_s > begin_s or rows[-1].at_s < end_s:
        return None
    at_s = np.array([row.at_s for row in rows])
    engines_s = _engines_s(run, at_s)
    if engines_s is None or np.diff(at_s).max() > GAP_S:
        return None
    edges = np.arange(at_s[0], at_s[-1], BIN_S)
    if len(edges) < 2 * SMOOTH_BINS:
        return None

    def rate(total_s: Column) -> Column:
        return np.maximum(0.0, np.diff(np.interp(edges, at_s, total_s)) / BIN_S)

    columns = ("busy_s", "grid_s", "radio_s", "others", "compute_s", "memory_s", "yielding_s")
    busy_s, grid_s, radio_s, others, compute_s, memory_s, yielding_s = (
        np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in columns
    )
    own = np.interp(fitted, at_s, grid_s - radio_s) - np.interp(fitted, at_s, engines_s)
    overhead = max(0.0, float(np.diff(own)[0]) / (fitted[1] - fitted[0]))
    outside = rate(busy_s - grid_s - yielding_s)
    in_line = _smooth(np.interp(edges[:-1] + BIN_S / 2, at_s, others))
    full = _smooth(rate(busy_s)) >= FULL * run.host_cores
    crowd = np.where(full, np.maximum(outside, in_line), outside) + rate(radio_s) + overhead
    return Weather(
        from_s=float(edges[0]),
        cores=run.host_cores,
        crowd=crowd,
        slower=_slower(at_s, compute_s, memory_s, edges, fitted),
    )


def _engines_s(run: RecordedRun, at_s: Column) -> Column | None:
    """Processor time of all engines so far; None where they do not say."""
    total = np.zeros(len(at_s))
    for rows in run.engines.values():
        if rows[-1].cpu_s < 0.0:
            return None
        spent_s = np.maximum.accumulate([max(0.0, row.cpu_s) for row in rows])
        total += np.interp(at_s, [row.at_s for row in rows], spent_s)
    return total


def _slower(
    at_s: Column, compute_s: Column, memory_s: Column, edges: Column, fitted: tuple[float, float]
) -> Column:
    """Both fixed computations against their mean of the first part, half and half."""
    first = (at_s >= fitted[0]) & (at_s <= fitted[1])
    ratio = 0.5 * compute_s / compute_s[first].mean() + 0.5 * memory_s / memory_s[first].mean()
    return _smooth(np.interp(edges[:-1] + BIN_S / 2, at_s, ratio))


def _smooth(column: Column) -> Column:
    kernel = np.ones(SMOOTH_BINS)
    smoothed: Column = np.convolve(column, kernel, "same") / np.convolve(
        np.ones(len(column)), kernel, "same"
    )
    return smoothed
