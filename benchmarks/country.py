"""A day of 200,000 sites in flows: wall time, where it goes, memory, and how cost grows with size.

Each size runs in a process of its own, so that its memory is its own. A bare compiled loop draws
one number and adds once for every cell (site, service, minute) of the same day in the same run:
what is above that is decisions, queues and figures. Sizes are compared by time a minute, without
what comes before the day.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks._rows import entry

_row = partial(entry, "country")

SCENARIO = Path(__file__).parent.parent / "scenarios" / "japan.yaml"
SITES, MINUTES, SERVICES = 200_000, 1440, 4
LIMIT_S, LIMIT_MB = 60.0, 3000.0
# Towers and minutes; routing is decided in each fifth of them.
SIZES = ((2_000, 60), (20_000, 60), (200_000, 60), (2_000_000, 10))
WORKERS = min(os.cpu_count() or 1, 2)


def run() -> list[dict[str, Any]]:
    """Measure, and give one row per figure."""
    day = _measured(SITES, MINUTES)
    bare_s = bare_loop_s(SITES, SERVICES, MINUTES)
    sizes = [_measured(towers, minutes) for towers, minutes in SIZES]
    return [*_day_rows(day, bare_s), *_size_rows(sizes)]


def _measured(towers: int, minutes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.country", str(towers), str(minutes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(towers: int, minutes: int) -> dict[str, Any]:
    """A rehearsal of `aigrid` with so many towers of Japan, in this process."""
    from aigrid.twin.country.build import Plan, build
    from aigrid.twin.country.files import load_country
    from aigrid.twin.fluid.rehearsal import peak_rss_mb, policy_of, run_policy
    from aigrid.twin.fluid.threads import Threads
    from aigrid.twin.fluid.trace import Trace
    from aigrid.twin.policies import plan_of

    country = load_country(SCENARIO, 0)
    if towers != SITES:
        plan = Plan(towers=towers, customers=275.0 * towers, factory_devices=towers / 100.0)
        network = build(plan, country.radio, country.radio_shapes, 0)
        country = replace(country, network=network)
    _compile()
    country = replace(country, minutes=minutes)
    began_s, busy_s = time.perf_counter(), time.process_time()
    with Threads(WORKERS) as threads:
        outcome, sums = run_policy(
            country, plan_of("aigrid"), policy_of(country), 0, threads, Trace(""), {}
        )
    return {
        "sites": len(country.network),
        "minutes": minutes,
        "wall_s": time.perf_counter() - began_s,
        "busy_s": time.process_time() - busy_s,
        "seconds": sums.seconds,
        "rss_mb": peak_rss_mb(),
        "radio_miss_rate": outcome.radio_miss_rate,
        "slo_attainment": outcome.slo_attainment,
    }


def _compile() -> None:
    """Kernels are compiled once for a machine; a first run would count that."""
    from aigrid.twin.country.files import load_country
    from aigrid.twin.fluid import rehearse

    region = load_country(SCENARIO.parent / "region.yaml", 0)
    rehearse(replace(region, minutes=16), ["aigrid"], 0)


def bare_loop_s(sites: int, services: int, minutes: int) -> float:
    """One draw and one addition for each cell."""
    sums = np.zeros((services, sites))
    _cells(sums, 1)
    began_s = time.perf_counter()
    _cells(sums, minutes)
    return time.perf_counter() - began_s


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _cells(sums, minutes):  # type: ignore[no-untyped-def]
    for minute in range(minutes):
        for service in range(sums.shape[0]):
            start = np.uint64(minute * 8 + service) << np.uint64(32)
            for site in range(sums.shape[1]):
                bits = (start + np.uint64(site)) * np.uint64(0x9E3779B97F4A7C15)
                bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                sums[service, site] += np.float64(bits >> np.uint64(40))


def _day_rows(day: dict[str, Any], bare_s: float) -> list[dict[str, Any]]:
    told = f"{day['sites']:,} sites x {day['minutes']} min x {SERVICES} services, {WORKERS} threads"
    wall = float(day["wall_s"])
    rows = [
        _row("a day, one policy", wall, "s", f"<= {LIMIT_S:.0f}", _won(wall, LIMIT_S), told),
        _row("processor time of it", day["busy_s"], "s", "", "measured", "of all threads"),
        _row("the same cells, bare loop", bare_s, "s", "", "baseline", "one draw and one addition"),
        _row("a day over the bare loop", wall / bare_s, "ratio", "", "measured", ""),
        _row(
            "memory", day["rss_mb"], "MB", f"<= {LIMIT_MB:.0f}", _won(day["rss_mb"], LIMIT_MB), ""
        ),
    ]
    for phase, seconds in sorted(day["seconds"].items(), key=lambda item: -item[1]):
        rows.append(_row(f"of it, {phase}", seconds, "s", "", "measured", f"{seconds / wall:.0%}"))
    missed, kept = day["radio_miss_rate"], day["slo_attainment"]
    rows.append(_row("radio slots missed", missed, "share", "<= 1e-5", _won(missed, 1e-5), ""))
    rows.append(_row("requests as promised", kept, "share", "", "measured", ""))
    return rows


def _size_rows(sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_minute = [(s["wall_s"] - s["seconds"]["before the day"]) / s["minutes"] * 1e3 for s in sizes]
    rows = [
        _row(f"{s['sites']:,} sites", ms, "ms a minute", "", "measured", _told(s))
        for s, ms in zip(sizes, by_minute, strict=True)
    ]
    x = np.log([s["sites"] for s in sizes])
    slope = float(np.polyfit(x, np.log(by_minute), 1)[0])
    ends = math.log(by_minute[-1] / by_minute[1]) / (x[-1] - x[1])
    note = f"least squares over {len(sizes)} sizes; {ends:.2f} from the second to the last"
    rows.append(_row("exponent of cost by sites", slope, "", "about 1", _won(slope, 1.1), note))
    return rows


def _told(size: dict[str, Any]) -> str:
    before = size["seconds"]["before the day"]
    return f"{size['minutes']} min, {before:.1f} s before them, {size['rss_mb']:,.0f} MB"


def _won(value: float, limit: float) -> str:
    return "won" if value <= limit else "lost"


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        for row in run():
            print(row)
