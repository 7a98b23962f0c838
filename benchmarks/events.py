"""A region request by request: events a second, beside SimPy, closed forms, and the fluid twin.

The speed is that of a whole rehearsal's engine, through `control`'s own code, on one thread. SimPy
runs the same span with the same decisions, arrivals and rules (`_simpy`), and must find the same.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.twin.country.files import load_country
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import radio
from aigrid.twin.fluid.experience import known_of
from aigrid.twin.fluid.ground import ground_of
from aigrid.twin.fluid.rehearsal import policy_of
from aigrid.twin.fluid.rehearsal import rehearse as rehearse_flows
from aigrid.twin.fluid.responses import quantile_ms
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.fluid.trace import Trace
from aigrid.twin.models.queues import mg1_ps_sojourn_s, mm1_sojourn_s, mmc_sojourn_s
from aigrid.twin.policies import plan_of
from aigrid.twin.region import columns
from aigrid.twin.region.arrivals import arrivals_of
from aigrid.twin.region.city import City
from aigrid.twin.region.columns import Records, World
from aigrid.twin.region.events import advance
from aigrid.twin.region.rehearsal import rehearse
from benchmarks._rows import entry

_row = partial(entry, "events")

SCENARIO = Path(__file__).parent.parent / "scenarios" / "region.yaml"
WANTED_PER_S = 200_000
TIMES, MINUTES = 20.0, 20
SPAN_MIN = 2
QUEUE_REQUESTS = 1_500_000
# Requests of the region's first hour, as multiples of the scenario's.
DEMANDS, HOUR = (1.0, 3.0, 10.0, 30.0), 60
NO_BLOCKS = np.zeros(0, np.int64)
Row = dict[str, Any]


def run() -> list[Row]:
    """Measure, and give one row per figure."""
    country = asked(load_country(SCENARIO, 0), TIMES)
    return [*_speed(country), *_beside_simpy(country), *_queues(), *_beside_flows()]


def asked(country: Country, times: float) -> Country:
    """The country with so many times the requests."""
    services = tuple(
        replace(s, requests_per_customer_day=s.requests_per_customer_day * times)
        for s in country.services
    )
    return replace(country, services=services)


def _speed(country: Country) -> list[Row]:
    rehearse(replace(country, minutes=1), ["aigrid"], 0)  # compiled once for a machine
    busy_s = time.thread_time()
    found = rehearse(replace(country, minutes=MINUTES), ["aigrid"], 0)
    busy_s = time.thread_time() - busy_s
    told = f"{found.sites} sites, {MINUTES} min, {TIMES:.0f} x the demand, {found.events:,} events"
    rate = found.events_per_s
    won = "won" if rate >= WANTED_PER_S else "lost"
    return [
        _row("events a second, engine", rate, "1/s", f">= {WANTED_PER_S:,}", won, told),
        _row(
            "events a second, whole rehearsal",
            found.events / busy_s,
            "1/s",
            "",
            "measured",
            "of the thread's own time: decisions each minute, tables, figures too",
        ),
    ]


def begun(country: Country) -> tuple[City, Records]:
    """A city as its first minute has decided it, and the requests of a span; nobody has come."""
    plan, dials = plan_of("aigrid"), policy_of(country)
    ground = ground_of(country, plan, dials)
    tables = radio.tables_of(country, 2000)
    with Threads(1) as threads:
        known, times = known_of(ground, tables, 0), responses_of(ground)
        city = City(ground, plan, dials, tables, times, known, 0, threads, Trace(""))
        city._decide(0)
        rates = city._happen(0)
    city.world.share[:] = known.radio.given
    spans = [arrivals_of(country, rates.copy(), minute, 0, None) for minute in range(SPAN_MIN)]
    return city, np.concatenate(spans)


def _beside_simpy(country: Country) -> list[Row]:
    from benchmarks._simpy import Region

    city, arrivals = begun(country)
    world = columns.grown(city.world, len(arrivals))
    speed = world.share[world.servers["site"]] * world.servers["devices"]
    until_s, fresh = 60.0 * SPAN_MIN, copy.deepcopy(world)
    ended = np.zeros(len(arrivals), columns.GONE_BY)
    began = time.perf_counter()
    advance(world, 0.0, until_s, speed, arrivals, NO_BLOCKS, ended)
    ours_s = time.perf_counter() - began
    region = Region(fresh, speed)
    began = time.perf_counter()
    done = region.run(arrivals, until_s)
    theirs_s = time.perf_counter() - began
    events = int(world.counts[columns.EVENTS])
    ours, theirs = events / ours_s, region.events / theirs_s
    first = ended[: world.counts[columns.ENDED]]["first_s"] * 1e3
    other = np.array([one.first_s - one.row["came_s"] for one in done]) * 1e3
    rows = [
        _row("SimPy, the same span", theirs, "1/s", "", "baseline", f"{region.events:,} events"),
        _row("the engine, the same span", ours, "1/s", "", "measured", f"{events:,} events"),
        _row("the engine over SimPy", theirs_s / ours_s, "ratio", "> 1", "won", "wall time"),
    ]
    for name, part in (("p50", 0.5), ("p95", 0.95)):
        pair = [float(np.nanquantile(values, part)) for values in (first, other)]
        apart = pair[0] / pair[1] - 1.0
        verdict = "pass" if abs(apart) < 1e-3 else "fail"
        note = f"{pair[0]:.4f} and {pair[1]:.4f} ms of {len(first):,} and {len(other):,}"
        rows.append(_row(f"TTFT {name} apart from SimPy", apart, "", "0.1%", verdict, note))
    return rows


def queue(cost: tuple[float, float, float, float], places: int, rows: int) -> World:
    """One site of one device and service, next to its gateway."""
    one = np.array([[1]], np.int32)
    cells, ends = columns.cells_of(np.array(cost).reshape(4, 1, 1), one * places, one * 2**30)
    routes, stands = np.zeros((1, 1, 1), columns.ROUTE), np.zeros((1, 1), columns.STAND)
    counts = np.zeros(columns.COUNTS, np.int64)
    routes["weight"], stands["allowed"], counts[columns.FREE] = 1.0, 1, rows
    return World(
        np.zeros(rows, columns.REQUEST),
        columns.unused(rows),
        np.zeros(rows, columns.TRAVEL),
        columns.servers_of(np.zeros(1, np.int32), np.ones(1)),
        np.zeros(1, np.int32),
        cells,
        ends,
        np.array([0, 1], np.int32),
        routes,
        np.zeros((1, 1), columns.WAY),
        stands,
        np.ones(1),
        np.zeros(1, columns.PREFIX),
        np.full((1, 1, 1), columns.NONE, np.int32),
        np.zeros((0, columns.WAYS), columns.BLOCK),
        np.zeros(2, np.int64),
        np.ones(1),
        counts,
    )


def _mean_s(
    rate: float, cost: tuple[float, float, float, float], places: int, *sizes: Any
) -> float:
    """Mean time of Poisson requests, from coming to the last token."""
    chance, total = np.random.default_rng(4), QUEUE_REQUESTS
    arrivals = np.zeros(total, columns.ARRIVAL)
    arrivals["came_s"] = np.cumsum(chance.exponential(1.0 / rate, total))
    arrivals["prompt"], arrivals["generated"] = (draw(chance, total) for draw in sizes)
    world, ended = queue(cost, places, total), np.zeros(total, columns.GONE_BY)
    advance(world, 0.0, 1e12, np.ones(1), arrivals, NO_BLOCKS, ended)
    return float(ended["last_s"].mean())


def _queues() -> list[Row]:
    def one(chance: Any, total: int) -> Any:
        return np.ones(total)

    def exponential(chance: Any, total: int) -> Any:
        return chance.exponential(1.0, total)

    def uneven(chance: Any, total: int) -> Any:
        return 1e4 * np.exp(1.2 * chance.standard_normal(total) - 0.72)

    def long(chance: Any, total: int) -> Any:
        return 1e4 * chance.exponential(1.0, total)

    found = (
        (
            "M/M/1, load 0.8",
            _mean_s(0.8, (0.0, 1.0, 1e-9, 0.0), 1, exponential, one),
            mm1_sojourn_s(0.8, 1.0),
        ),
        (
            "M/M/8, load 0.8",
            _mean_s(6.4, (0.0, 0.0, 1e-4, 0.0), 8, one, long),
            mmc_sojourn_s(6.4, 1.0, 8),
        ),
        (
            "M/G/1 processor sharing, load 0.8",
            _mean_s(0.8, (0.0, 0.0, 0.0, 1e-4), 100_000, one, uneven),
            mg1_ps_sojourn_s(0.8, 1.0),
        ),
    )
    return [
        _row(
            f"{name}: mean time over the closed form",
            seen / true - 1.0,
            "",
            "within 2%",
            "pass" if abs(seen / true - 1.0) <= 0.02 else "fail",
            f"{seen:.4f} and {true:.4f} s, {QUEUE_REQUESTS:,} requests",
        )
        for name, seen, true in found
    ]


def _beside_flows() -> list[Row]:
    rows = []
    for times in DEMANDS:
        country = asked(replace(load_country(SCENARIO, 0), minutes=HOUR), times)
        flows = rehearse_flows(country, ["aigrid"], 0).policies["aigrid"]
        events = rehearse(country, ["aigrid"], 0).policies["aigrid"]
        use = flows.utilisation_mean / events.utilisation_mean - 1.0
        pair = [_p95_ms(found.histograms) for found in (flows, events)]
        late = pair[0] / pair[1] - 1.0
        told = f"{flows.utilisation_mean:.2%} and {events.utilisation_mean:.2%}"
        name = f"flows beside events, {times:.0f} x the demand"
        rows.append(_row(f"{name}: utilisation", use, "", "5%", _within(use, 0.05), told))
        told = f"{pair[0]:.1f} and {pair[1]:.1f} ms"
        rows.append(_row(f"{name}: TTFT p95", late, "", "10%", _within(late, 0.1), told))
    return rows


def _p95_ms(histograms: dict[str, Any]) -> float:
    found = [both for name, both in histograms.items() if name.startswith("ttft_ms:")]
    return quantile_ms(found[0][0], sum(counts for _, counts in found), 0.95)


def _within(value: float, limit: float) -> str:
    return "pass" if abs(value) <= limit else "lost"


if __name__ == "__main__":
    for row in run():
        print(row)
