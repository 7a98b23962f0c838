"""Missed slots: AI idle, AI saturating the machine with protection off, and with it on.

Two towers' front-ends run as real processes; the AI is one process per core that multiplies
matrices and streams memory. Conditions are interleaved in rounds, so that a slow spell of the
machine hits all of them. Slots are missed in clusters: intervals are Wilson's with the number of
slots divided by the overdispersion that the rounds show.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.core.errors import UnavailableError
from aigrid.radio.counters import RUNNING, RadioCounters, RadioStatus
from benchmarks._rows import entry

_entry = partial(entry, "radio")

ROUNDS = 8
SECONDS_A_ROUND = 1.4
TOWERS = 2
SETTLE_S = 0.3
Z_95 = 1.96


@dataclass(frozen=True)
class Condition:
    """One way of running radio and AI together."""

    name: str
    ai: bool
    radio_protection: str
    ai_yields: bool


CONDITIONS = (
    Condition("AI idle", False, "realtime", False),
    Condition("AI saturated, protection off", True, "off", False),
    Condition("AI saturated, protection on", True, "realtime", True),
    Condition("AI saturated, protection on without SCHED_FIFO", True, "nice", True),
)


@dataclass
class Tally:
    """Counts of one condition, one entry per round."""

    slots: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    ai_steps_per_s: list[float] = field(default_factory=list)
    need_mean: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Share of missed slots."""
        return sum(self.missed) / max(sum(self.slots), 1)

    def interval(self) -> tuple[float, float]:
        """95% interval of the rate."""
        return wilson(sum(self.missed), sum(self.slots), overdispersion(self.missed, self.slots))


def wilson(hits: int, trials: int, inflation: float = 1.0) -> tuple[float, float]:
    """Wilson score interval, 95%, of hits in trials / inflation independent draws."""
    n = max(trials, 1) / inflation
    p = hits / max(trials, 1)
    centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n)) / (1 + Z_95**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def overdispersion(hits: list[int], trials: list[int]) -> float:
    """Variance of the rounds' hits over the binomial variance, at least 1 (Pearson)."""
    p = sum(hits) / max(sum(trials), 1)
    if p in (0.0, 1.0) or len(hits) < 2:
        return 1.0
    chi2 = sum((h - n * p) ** 2 / (n * p * (1 - p)) for h, n in zip(hits, trials, strict=True))
    return max(1.0, chi2 / (len(hits) - 1))


def run() -> list[dict[str, Any]]:
    """Measure, and give one row per figure."""
    with tempfile.TemporaryDirectory(prefix="aigrid-radio-") as folder:
        tallies = measure(Path(folder))
    return rows(tallies)


def measure(
    folder: Path, *, rounds: int = ROUNDS, seconds: float = SECONDS_A_ROUND, **cell: float
) -> dict[str, Tally]:
    """Run all conditions in interleaved rounds; `cell` overrides fields of the default cell."""
    tallies = {condition.name: Tally() for condition in CONDITIONS}
    for number in range(rounds):
        # The order turns, so that none of them always follows the busiest one.
        for step in range(len(CONDITIONS)):
            condition = CONDITIONS[(number + step) % len(CONDITIONS)]
            _one_round(folder, condition, seconds, cell, tallies[condition.name])
    return tallies


def _one_round(
    folder: Path, condition: Condition, seconds: float, cell: dict[str, float], tally: Tally
) -> None:
    radios: list[subprocess.Popen[str]] = []
    workers: list[subprocess.Popen[str]] = []
    try:
        radios += [_start_radio(folder, condition, tower, cell) for tower in range(TOWERS)]
        paths = [folder / f"tower-{tower}.bin" for tower in range(TOWERS)]
        counters = [_wait_running(path, radio) for path, radio in zip(paths, radios, strict=True)]
        if condition.ai:
            workers += [_start_ai(condition.ai_yields) for _ in range(os.cpu_count() or 1)]
            _wait_lines(workers)
        time.sleep(SETTLE_S)
        before = [counter.read() for counter in counters]
        time.sleep(seconds)
        after = [counter.read() for counter in counters]
        for counter in counters:
            counter.close()
        _add(tally, before, after)
    finally:
        steps = sum(_stop(worker) for worker in workers)
        for radio in radios:
            _stop(radio)
    tally.ai_steps_per_s.append(steps)


def _add(tally: Tally, before: list[RadioStatus], after: list[RadioStatus]) -> None:
    missed = sum(b.slots_missed - a.slots_missed for a, b in zip(before, after, strict=True))
    on_time = sum(b.slots_on_time - a.slots_on_time for a, b in zip(before, after, strict=True))
    tally.slots.append(missed + on_time)
    tally.missed.append(missed)
    tally.need_mean.append(float(np.mean([status.need_mean for status in after])))
    tally.latency_ms.append(max(status.latency_high_ms for status in after))


def _start_radio(
    folder: Path, condition: Condition, tower: int, cell: dict[str, float]
) -> subprocess.Popen[str]:
    config = {
        "site": f"tower-{tower}",
        "cell": {"name": "cell", **cell},
        "counters": str(folder / f"tower-{tower}.bin"),
        "profile": {"kind": "constant", "load": 0.33},
        "seed": tower,
        "protection": condition.radio_protection,
    }
    path = folder / f"tower-{tower}.json"
    path.write_text(json.dumps(config))
    return _spawn("aigrid.radio.frontend", "--config", str(path))


def _start_ai(yields: bool) -> subprocess.Popen[str]:
    return _spawn("benchmarks.radio", "yield" if yields else "plain")


def _spawn(module: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def _wait_running(path: Path, radio: subprocess.Popen[str]) -> RadioCounters:
    _wait_lines([radio])
    counters = RadioCounters.open(path)
    while counters.read().state != RUNNING:
        time.sleep(0.01)
    return counters


def _wait_lines(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], 60)[0] or not process.stdout.readline():
            raise UnavailableError(f"{process.args!r} did not get ready within 60 s")


def _stop(process: subprocess.Popen[str]) -> float:
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    return float(out) if out.strip() else 0.0


def rows(tallies: dict[str, Tally]) -> list[dict[str, Any]]:
    """The table's rows."""
    idle, off = tallies[CONDITIONS[0].name], tallies[CONDITIONS[1].name]
    visible = off.interval()[0] > idle.interval()[1]
    table = [_row(CONDITIONS[0], idle, "", "baseline"), _off_row(off, idle, visible)]
    table += [_on_row(c, tallies[c.name], idle, off, visible) for c in CONDITIONS[2:]]
    for condition in CONDITIONS[2:]:
        kept = np.mean(tallies[condition.name].ai_steps_per_s) / np.mean(off.ai_steps_per_s)
        figure = f"AI work kept, {condition.name}"
        note = "AI steps a second with protection on over off"
        table.append(_entry(figure, float(kept), "ratio", "", "measured", note))
    return table


def _off_row(off: Tally, idle: Tally, visible: bool) -> dict[str, Any]:
    limit = f"> {idle.interval()[1]:.2e}"
    return _row(CONDITIONS[1], off, limit, "worse, as expected" if visible else "proves nothing")


def _on_row(
    condition: Condition, on: Tally, idle: Tally, off: Tally, visible: bool
) -> dict[str, Any]:
    # Within noise: the intervals of on and idle meet, and on lies clear of off.
    low, high = on.interval()
    meets = low <= idle.interval()[1]
    clear = high < off.interval()[0]
    verdict = "won" if meets and clear else "lost"
    if not visible:
        verdict = "proves nothing"
    return _row(condition, on, f"<= {idle.interval()[1]:.2e}", verdict)


def _row(condition: Condition, tally: Tally, limit: str, verdict: str) -> dict[str, Any]:
    low, high = tally.interval()
    note = (
        f"{sum(tally.missed)} of {sum(tally.slots)} slots, 95% {low:.2e}..{high:.2e}, "
        f"latency p99 {np.median(tally.latency_ms):.2f} ms, need {np.mean(tally.need_mean):.2f}"
    )
    return _entry(f"missed slots, {condition.name}", tally.rate, "share", limit, verdict, note)


def ai_load(yields: bool) -> None:
    """Keep a core and the memory busy until SIGTERM, then print steps per second."""
    if yields:
        from aigrid.radio.protection import yield_to_radio

        yield_to_radio()
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    weights = np.ones((4096, 4096), np.float32)
    vector, square = np.ones(4096, np.float32), np.ones((256, 256), np.float32)
    print("ready", flush=True)
    steps, started = 0, time.monotonic()
    while running:
        # Decoding streams 64 MB of weights; prefill multiplies what fits the cache.
        vector = np.tanh(weights @ vector)
        square = np.tanh(square @ square)
        steps += 1
    print(steps / (time.monotonic() - started))


if __name__ == "__main__":
    if sys.argv[1:]:
        ai_load(sys.argv[1] == "yield")
    else:
        for entry in run():
            print(entry)
