# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""A minute inside the sites: compute among services, lines, refusals, operating points.

By day most towers have nothing to do. Those that have are gathered to blocks, and what a site's
services do to each other is found for a block at once (`models.blocks`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.fluid.mixes import Mixes
from aigrid.twin.fluid.responses import (
    FULL_STEPS,
    LOADS,
    OVER_STEPS,
    SPEED_LOOKUP,
    SPEED_STEPS,
    SPEEDS,
)
from aigrid.twin.models import turns
from aigrid.twin.models.blocks import (
    ALONE,
    BLOCK,
    BUSY,
    DONE,
    FIELDS,
    FULL,
    FULLEST,
    IDLE,
    LOAD,
    PREFILL,
    RATE,
    ROOM,
    SPEED,
    TABLE,
    WANTED,
    lines_of,
    run,
    scratch,
    settle,
)
from aigrid.twin.models.turns import CELLS, FULL_CELLS, Turns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0
# Below this load of a full batch nobody finds the line full.
CROWDED = np.float32(0.3)
# Speed of a site that has none: nothing is offered to it either.
_STILL = np.float32(1e-9)
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_LOADS, _SPEEDS = len(LOADS), len(SPEEDS)


class Standing(NamedTuple):
    """What stays all day.

    Attributes:
        compute: (N,) devices.
        type_of: (N,) int16 rows of the tables below.
        line_limit: (S, T) requests in line, for a group of devices.
        cost: (T, S, 4) of `Turns`.
        lines: of `blocks.lines_of`.
        blocked: (T, S, FULL_CELLS) of `Turns`.
        nodes: of it.
        weights: of it.
        table_of: (N,) int16 tables of `Mixes`, that latencies are read in.
        places: (K, F) of it.
        speed_lookup: (2, n) speed bin of a speed below `speed_steps[2]`, and of one above.
        speed_steps: steps of a speed of 1 in both, and where they part.
        tokens: (S,) of a request.
    """

    compute: Floats
    type_of: NDArray[np.int16]
    line_limit: Floats
    cost: Floats
    lines: Singles
    blocked: Singles
    nodes: Floats
    weights: Floats
    table_of: NDArray[np.int16]
    places: NDArray[np.int16]
    speed_lookup: NDArray[np.int16]
    speed_steps: Floats
    tokens: Floats


class Coming(NamedTuple):
    """What a minute brings.

    Attributes:
        share: (N,) of compute that AI may use.
        stays: (S, N) float32 sessions that stay.
        ready: (S, N) float32 part of this minute that the service is loaded; 0: it is not here.
        arrive: (S, N) requests a second.
    """

    share: Floats
    stays: Singles
    ready: Singles
    arrive: Floats


class Outcome(NamedTuple):
    """What becomes of it, in place.

    Attributes:
        line: (S, N) requests in line.
        held: (N,) int8, whether anybody is in line.
        running: (S, N) float32 part of the time that each service decodes.
        served: (S, N) requests of this minute.
        over: (S, N) requests refused here.
        turned: (N,) int8, whether any are.
        awake: (N,) int8, whether anybody came or was there in the minute before.
        point: (N,) int32 operating point.
        load: (N,) work offered, in full batches, over the compute there is.
        busy_sum: (N,) device-minutes busy, added to.
        share_sum: (N,) device-minutes given to AI, added to.
        tokens_sum: (N,) tokens, added to.
    """

    line: Floats
    held: NDArray[np.int8]
    running: Singles
    served: Floats
    over: Floats
    turned: NDArray[np.int8]
    awake: NDArray[np.int8]
    point: NDArray[np.int32]
    load: Floats
    busy_sum: Floats
    share_sum: Floats
    tokens_sum: Floats


def standing_of(ground: Ground, found: Turns, mixes: Mixes, tokens: Floats) -> Standing:
    """Of a country and its tables; tokens is (S,) of a request."""
    return Standing(
        ground.compute,
        ground.type_of,
        ground.line,
        found.cost,
        lines_of(found.busy),
        found.blocked,
        found.nodes,
        found.weights,
        mixes.table_of,
        mixes.place,
        SPEED_LOOKUP,
        SPEED_STEPS,
        tokens,
    )


def outcome_of(
    services: int, sites: int, busy_sum: Floats, share_sum: Floats, tokens_sum: Floats
) -> Outcome:
    """Of a day whose first minute is still to come; sums go to those given."""
    line, served, over = np.zeros((3, services, sites))
    running = np.zeros((services, sites), np.float32)
    held, turned, awake = np.zeros((3, sites), np.int8)
    point, load = np.zeros(sites, np.int32), np.zeros(sites)
    sums = (busy_sum, share_sum, tokens_sum)
    return Outcome(line, held, running, served, over, turned, awake, point, load, *sums)


@njit(**_OPTIONS)
def remember(seen, load, kept):
    """Average what was seen, in place: `kept` of it stays."""
    for row in range(len(seen)):
        seen[row] = kept * seen[row] + (1.0 - kept) * load[row]


@njit(**_OPTIONS)
def serve(first, last, standing, coming, outcome, columns):
    """A minute of the sites `first` to `last`.

    Services take turns, and what they do to each other is settled from last minute's batches on
    (`models.turns`). What comes beyond what a full batch makes waits in line, as many as the line
    holds; the rest is refused here. A large site answers as several groups alike.

    Args:
        first: row.
        last: row after the last.
        standing: of the country.
        coming: of the minute.
        outcome: to fill.
        columns: S values, any: a tuple's length is known when this is compiled.

    Returns:
        devices given to AI, those of them that are busy, and that work at full batches would need.
    """
    block, offered = (
        scratch(standing.nodes, standing.weights, columns),
        np.zeros(len(columns) * BLOCK),
    )
    rows, count = np.zeros(BLOCK, np.int64), 0
    given, busy, work = 0.0, 0.0, 0.0
    for row in range(first, last):
        devices = coming.share[row] * standing.compute[row]
        outcome.share_sum[row] += devices
        given += devices
        rows[count] = row
        count += _is_awake(row, coming, outcome, columns)
        if count == BLOCK:
            more_busy, more_work = _together(
                block, offered, rows, count, standing, coming, outcome, columns
            )
            busy, work, count = busy + more_busy, work + more_work, 0
    more_busy, more_work = _together(
        block, offered, rows, count, standing, coming, outcome, columns
    )
    return given, busy + more_busy, work + more_work


@njit(**_OPTIONS)
def _is_awake(row, coming, outcome, columns):
    """1 where somebody comes, is in line, or did so in the minute before, which must be cleared."""
    came = 0.0
    for s in range(len(columns)):
        came += coming.arrive[s, row]
    is_busy = (came > 0.0) | (outcome.held[row] != 0)
    is_awake = is_busy | (outcome.awake[row] != 0)
    outcome.awake[row] = np.int8(is_busy)
    return np.int64(is_awake)


@njit(**_OPTIONS)
def _together(block, offered, rows, count, standing, coming, outcome, columns):
    """A minute of `count` rows, a block at most; devices busy, and work of full batches."""
    _open(block, rows, count, standing, coming.share, columns)
    for at in range(count):
        _offer(block, offered, at, rows[at], standing, coming, outcome, columns)
    settle(block, standing.lines, columns)
    _add_up(block, columns)
    busy, work = 0.0, 0.0
    for at in range(count):
        row = rows[at]
        if block[(len(columns) * FIELDS + FULLEST) * BLOCK + at] > CROWDED:
            _crowd(block, offered, at, row, standing, coming, outcome, columns)
        runs, full = _close(block, at, row, standing, coming.share, outcome, columns)
        busy += runs
        work += full
    return busy, work


@njit(**_OPTIONS)
def _open(block, rows, count, standing, share, columns):
    """Speeds of sites and where their tables begin; places after the last have nothing to do."""
    own = len(columns) * FIELDS
    for at in range(count):
        row = rows[at]
        speed = np.float32(share[row] * min(standing.compute[row], TOGETHER * 1.0))
        block[(own + SPEED) * BLOCK + at] = max(speed, _STILL)
        table = standing.type_of[row] * (len(columns) * (CELLS + 1))
        block[(own + TABLE) * BLOCK + at] = np.float32(table)
    for s in range(len(columns)):
        run(block, s, RATE)[count:] = _ZERO


@njit(**_OPTIONS)
def _offer(block, offered, at, row, standing, coming, outcome, columns):
    """What comes of each service to a site, and what it costs; all of it is served, so far."""
    kind, is_open = standing.type_of[row], coming.share[row] > 0.0
    each = 1.0 / (MINUTE_S * max(standing.compute[row] * (1.0 / TOGETHER), 1.0))
    turned = 0
    for s in range(len(columns)):
        came, held = coming.arrive[s, row] * MINUTE_S, 0.0
        if outcome.held[row]:
            held, outcome.line[s, row] = outcome.line[s, row], 0.0
        loaded = np.float64(coming.ready[s, row]) if is_open else 0.0
        # Loaded in the middle of the minute: who came before found nobody.
        missed = came * (1.0 - loaded) + (held if loaded <= 0.0 else 0.0)
        some = came + held - missed
        offered[s * BLOCK + at] = outcome.served[s, row] = some
        if missed > 0.0 or outcome.turned[row]:
            outcome.over[s, row] = missed
            turned |= int(missed > 0.0)
        prefill = standing.cost[kind, s, turns.PREFILL]
        prefill += (1.0 - np.float64(coming.stays[s, row])) * standing.cost[kind, s, turns.LOST]
        block[(s * FIELDS + RATE) * BLOCK + at] = np.float32(some * each)
        block[(s * FIELDS + PREFILL) * BLOCK + at] = np.float32(prefill)
        block[(s * FIELDS + ALONE) * BLOCK + at] = np.float32(standing.cost[kind, s, turns.ALONE])
        block[(s * FIELDS + FULL) * BLOCK + at] = np.float32(standing.cost[kind, s, turns.FULL])
        block[(s * FIELDS + BUSY) * BLOCK + at] = outcome.running[s, row]
    outcome.turned[row], outcome.held[row] = turned, 0


@njit(**_OPTIONS)
def _add_up(block, columns):
    """Work of full batches, and idle time, of each site."""
    own = len(columns) * FIELDS
    for at in range(BLOCK):
        done, idle = _ZERO, block[(own + ROOM) * BLOCK + at] / block[(own + SPEED) * BLOCK + at]
        for s in range(len(columns)):
            each = block[(s * FIELDS + PREFILL) * BLOCK + at]
            each += block[(s * FIELDS + FULL) * BLOCK + at]
            done += block[(s * FIELDS + RATE) * BLOCK + at] * each
            idle *= _ONE - block[(s * FIELDS + BUSY) * BLOCK + at]
        block[(own + WANTED) * BLOCK + at] = done
        block[(own + DONE) * BLOCK + at] = done
        block[(own + IDLE) * BLOCK + at] = idle


@njit(**_OPTIONS)
def _crowd(block, offered, at, row, standing, coming, outcome, columns):
    """A crowded site serves what full batches do; others wait, or find the line full."""
    own, kind = len(columns) * FIELDS, standing.type_of[row]
    groups = max(standing.compute[row] / TOGETHER, 1.0)
    each = 1.0 / (MINUTE_S * groups)
    fit, done = _fit(block, offered, at, row, standing, coming, columns), 0.0
    for s in range(len(columns)):
        load = np.float64(block[(s * FIELDS + LOAD) * BLOCK + at])
        come = offered[s * BLOCK + at]
        out, kept = come, 0.0
        if load >= 1.0:
            out *= fit / load
            kept = min(come - out, standing.line_limit[s, kind] * groups)
        elif load > CROWDED:
            cell = int(load * (FULL_CELLS / turns.FULLEST))
            out -= min(coming.arrive[s, row] * MINUTE_S * standing.blocked[kind, s, cell], out)
        refused = come - out - kept
        outcome.served[s, row] = out
        if refused > 0.0:
            before = outcome.over[s, row] if outcome.turned[row] else 0.0
            outcome.over[s, row] = before + refused
            outcome.turned[row] = 1
        if kept > 0.0:
            outcome.line[s, row] = kept
            outcome.held[row] = 1
        done += out * each * _work_s(row, s, standing, coming)
    block[(own + DONE) * BLOCK + at] = np.float32(done)


@njit(**_OPTIONS)
def _work_s(row, s, standing, coming):
    """Device seconds of a request in a full batch."""
    cost = standing.cost[standing.type_of[row], s]
    lost = (1.0 - np.float64(coming.stays[s, row])) * cost[turns.LOST]
    return cost[turns.PREFILL] + lost + cost[turns.FULL]


@njit(**_OPTIONS)
def _fit(block, offered, at, row, standing, coming, columns):
    """Part of what full batches let through that fits the compute, beside all that is less."""
    groups = max(standing.compute[row] / TOGETHER, 1.0)
    less, full = 0.0, 0.0
    for s in range(len(columns)):
        load = np.float64(block[(s * FIELDS + LOAD) * BLOCK + at])
        rate = offered[s * BLOCK + at] / (MINUTE_S * groups)
        work = rate * _work_s(row, s, standing, coming)
        if load >= 1.0:
            full += work / load
        else:
            less += work
    speed = coming.share[row] * min(standing.compute[row], TOGETHER * 1.0)
    return min(1.0, max(speed - less, 0.0) / full) if full > 0.0 else 1.0


@njit(**_OPTIONS)
def _close(block, at, row, standing, share, outcome, columns):
    """A site's operating point and its sums of the day; devices busy, and work of full batches."""
    own = len(columns) * FIELDS
    idle, fullest = block[(own + IDLE) * BLOCK + at], block[(own + FULLEST) * BLOCK + at]
    wanted, done = block[(own + WANTED) * BLOCK + at], block[(own + DONE) * BLOCK + at]
    speed = np.float64(block[(own + SPEED) * BLOCK + at])
    compute, made = standing.compute[row], 0.0
    for s in range(len(columns)):
        made += outcome.served[s, row] * standing.tokens[s]
        outcome.running[s, row] = block[(s * FIELDS + BUSY) * BLOCK + at]
    step = int(_HALF * (_ONE - idle + fullest) * FULL_STEPS)
    if fullest >= _ONE:
        step = FULL_STEPS + int((wanted / done - _ONE) * OVER_STEPS)
    steps, lookup = standing.speed_steps, standing.speed_lookup
    fine = 0 if speed < steps[2] else 1
    pace = lookup[fine, min(int(speed * steps[fine]), lookup.shape[1] - 1)]
    table = np.int64(standing.table_of[row])
    place = standing.places[table, min(step, standing.places.shape[1] - 1)]
    outcome.point[row] = (table * _SPEEDS + pace) * _LOADS + place
    outcome.load[row] = np.float64(wanted) / speed
    full = np.float64(done) * max(compute / TOGETHER, 1.0)
    runs = max(np.float64(_ONE - idle) * share[row] * compute, full)
    outcome.busy_sum[row] += runs
    outcome.tokens_sum[row] += made
    return runs, full
