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
from aigrid.twin.fluid.offers import (
    COME,
    COMPUTE,
    MADE,
    MINUTE_S,
    OFFERED,
    OFFERS,
    PACE,
    RUNS,
    SHARE,
    STEP,
    WORK,
    offer,
    offers_of,
)
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
    WANTED,
    lines_of,
    scratch,
    settle,
)
from aigrid.twin.models.turns import FULL_CELLS, Turns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Rows among which those that have something to do are looked for together.
STRETCH = 2048
# Below this load of a full batch nobody finds the line full.
CROWDED = np.float32(0.3)
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
    offers = offers_of(scratch(standing.nodes, standing.weights, columns), columns)
    rows, count = np.zeros(STRETCH + BLOCK, np.int64), 0
    sums = np.zeros(3)
    for begin in range(first, last, STRETCH):
        part, done = slice(begin, min(begin + STRETCH, last)), 0
        _give(coming.share[part], standing.compute[part], outcome.share_sum[part], sums)
        count = _find_awake(part, rows, count, coming.arrive, outcome.held, outcome.awake, columns)
        while count - done >= BLOCK:
            one = rows[done : done + BLOCK]
            _together(offers, one, BLOCK, standing, coming, outcome, sums, columns)
            done += BLOCK
        count -= done
        for at in range(count):
            rows[at] = rows[done + at]
    _together(offers, rows, count, standing, coming, outcome, sums, columns)
    return sums[0], sums[1], sums[2]


@njit(**_OPTIONS)
def _give(share, compute, share_sum, sums):
    """Add the devices given to AI to each site's sum and to that of all."""
    given = sums[0]
    for at in range(len(share)):
        devices = share[at] * compute[at]
        share_sum[at] += devices
        given += devices
    sums[0] = given


@njit(**_OPTIONS)
def _find_awake(part, rows, count, arrive, held, awake, columns):
    """Append the rows where somebody comes, is in line, or did so in the minute before.

    Those of the minute before must be cleared.
    """
    busy, before = held[part].copy(), awake[part]
    for s in range(len(columns)):
        came = arrive[s, part]
        for at in range(len(came)):
            busy[at] |= np.int8(came[at] > 0.0)
    for at in range(len(busy)):
        rows[count] = part.start + at
        count += np.int64((busy[at] | before[at]) != 0)
    for at in range(len(busy)):
        before[at] = np.int8(busy[at] != 0)
    return count


@njit(**_OPTIONS)
def _together(offers, rows, count, standing, coming, outcome, sums, columns):
    """A minute of `count` rows, a block at most; devices busy and work are added to the sums."""
    offer(offers, rows, count, standing, coming, outcome, columns)
    block = offers.found
    settle(block, standing.lines, columns)
    _add_up(block, columns)
    for at in range(count):
        if block[(len(columns) * FIELDS + FULLEST) * BLOCK + at] > CROWDED:
            _crowd(offers, at, rows[at], standing, coming, outcome, columns)
    _find_points(block, offers.wide, count, standing.tokens, standing.speed_steps, columns)
    _close(offers, rows, count, standing, outcome, sums, columns)


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
def _crowd(offers, at, row, standing, coming, outcome, columns):
    """A crowded site serves what full batches do; others wait, or find the line full."""
    block, wide, kind = offers.found, offers.wide, standing.type_of[row]
    groups = max(standing.compute[row] / TOGETHER, 1.0)
    each = 1.0 / (MINUTE_S * groups)
    fit, done = _fit(block, wide, at, row, standing, coming, columns), 0.0
    for s in range(len(columns)):
        load = np.float64(block[(s * FIELDS + LOAD) * BLOCK + at])
        come = wide[(s * OFFERS + COME) * BLOCK + at]
        out, kept = come, 0.0
        if load >= 1.0:
            out *= fit / load
            kept = min(come - out, standing.line_limit[s, kind] * groups)
        elif load > CROWDED:
            cell = int(load * (FULL_CELLS / turns.FULLEST))
            out -= min(coming.arrive[s, row] * MINUTE_S * standing.blocked[kind, s, cell], out)
        refused = come - out - kept
        wide[(s * OFFERS + COME) * BLOCK + at] = out
        if refused > 0.0:
            before = outcome.over[s, row] if outcome.turned[row] else 0.0
            outcome.over[s, row] = before + refused
            outcome.turned[row] = 1
        if kept > 0.0:
            outcome.line[s, row] = kept
            outcome.held[row] = 1
        done += out * each * _work_s(row, s, standing, coming)
    block[(len(columns) * FIELDS + DONE) * BLOCK + at] = np.float32(done)


@njit(**_OPTIONS)
def _work_s(row, s, standing, coming):
    """Device seconds of a request in a full batch."""
    cost = standing.cost[standing.type_of[row], s]
    lost = (1.0 - np.float64(coming.stays[s, row])) * cost[turns.LOST]
    return cost[turns.PREFILL] + lost + cost[turns.FULL]


@njit(**_OPTIONS)
def _fit(block, wide, at, row, standing, coming, columns):
    """Part of what full batches let through that fits the compute, beside all that is less."""
    groups = max(standing.compute[row] / TOGETHER, 1.0)
    less, full = 0.0, 0.0
    for s in range(len(columns)):
        load = np.float64(block[(s * FIELDS + LOAD) * BLOCK + at])
        rate = wide[(s * OFFERS + COME) * BLOCK + at] / (MINUTE_S * groups)
        work = rate * _work_s(row, s, standing, coming)
        if load >= 1.0:
            full += work / load
        else:
            less += work
    speed = coming.share[row] * min(standing.compute[row], TOGETHER * 1.0)
    return min(1.0, max(speed - less, 0.0) / full) if full > 0.0 else 1.0


@njit(**_OPTIONS)
def _find_points(block, wide, count, tokens, steps, columns):
    """What sites made, how busy they were, and the steps at which tables are read for them."""
    own, mine = len(columns) * FIELDS, len(columns) * OFFERS
    for at in range(count):
        idle, fullest = block[(own + IDLE) * BLOCK + at], block[(own + FULLEST) * BLOCK + at]
        wanted, done = block[(own + WANTED) * BLOCK + at], block[(own + DONE) * BLOCK + at]
        speed = np.float64(block[(own + SPEED) * BLOCK + at])
        compute, share = wide[(mine + COMPUTE) * BLOCK + at], wide[(mine + SHARE) * BLOCK + at]
        full = np.float64(done) * max(compute * (1.0 / TOGETHER), 1.0)
        wide[(mine + WORK) * BLOCK + at] = full
        wide[(mine + RUNS) * BLOCK + at] = max(np.float64(_ONE - idle) * share * compute, full)
        wide[(mine + OFFERED) * BLOCK + at] = np.float64(wanted) / speed
        below = np.float64(_HALF * (_ONE - idle + fullest)) * FULL_STEPS
        above = np.floor(np.float64(wanted / done - _ONE) * OVER_STEPS) + FULL_STEPS
        wide[(mine + STEP) * BLOCK + at] = above if fullest >= _ONE else below
        wide[(mine + PACE) * BLOCK + at] = speed * (steps[0] if speed < steps[2] else steps[1])
    for at in range(count):
        made = 0.0
        for s in range(len(columns)):
            made += wide[(s * OFFERS + COME) * BLOCK + at] * tokens[s]
        wide[(mine + MADE) * BLOCK + at] = made


@njit(**_OPTIONS)
def _close(offers, rows, count, standing, outcome, sums, columns):
    """Sites' operating points and sums of the day; devices busy, and work of full batches."""
    block, wide = offers.found, offers.wide
    own, mine = len(columns) * FIELDS, len(columns) * OFFERS
    lookup, places = standing.speed_lookup, standing.places
    busy, work = 0.0, 0.0
    for at in range(count):
        row = rows[at]
        fine = 0 if block[(own + SPEED) * BLOCK + at] < standing.speed_steps[2] else 1
        step, pace = int(wide[(mine + STEP) * BLOCK + at]), int(wide[(mine + PACE) * BLOCK + at])
        table = np.int64(standing.table_of[row])
        point = table * _SPEEDS + lookup[fine, min(pace, lookup.shape[1] - 1)]
        place = places[table, min(step, places.shape[1] - 1)]
        outcome.point[row] = point * _LOADS + place
        outcome.load[row] = wide[(mine + OFFERED) * BLOCK + at]
        outcome.busy_sum[row] += wide[(mine + RUNS) * BLOCK + at]
        outcome.tokens_sum[row] += wide[(mine + MADE) * BLOCK + at]
        busy += wide[(mine + RUNS) * BLOCK + at]
        work += wide[(mine + WORK) * BLOCK + at]
        for s in range(len(columns)):
            outcome.served[s, row] = wide[(s * OFFERS + COME) * BLOCK + at]
            outcome.running[s, row] = block[(s * FIELDS + BUSY) * BLOCK + at]
    sums[1] += busy
    sums[2] += work
