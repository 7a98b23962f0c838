# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""What a minute offers to a block of sites: gathered once, then reckoned in loops without branches.

Columns are gathered and scattered by loops of their own, as a compiler makes vectors only of those
that touch nothing but the block (`models.blocks`, whose 32 bits are too few for requests).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import TOGETHER
from aigrid.twin.models import turns
from aigrid.twin.models.blocks import (
    ALONE,
    BLOCK,
    BUSY,
    FIELDS,
    FULL,
    LOAD,
    PREFILL,
    RATE,
    SPEED,
    TABLE,
    TURN,
    run,
)
from aigrid.twin.models.turns import CELLS

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0
# Fields of each service: requests a second that come and then those of the minute that are served,
# requests that are not, and device seconds of a request's prefill and of a prefix that is lost.
COME, MISSED, _PREFILL_S, _LOST_S, OFFERS = range(5)
# Fields of a site, after those of all services: what it has, a group's part of a minute's request
# as a rate, requests of all services that it misses; what it made, and of `serving.Outcome`.
SHARE, COMPUTE, _EACH, _LOST, MADE, OFFERED, RUNS, WORK, STEP, PACE, _OWN = range(11)
# Fields of `models.blocks` that are found later, and hold what was gathered until then.
_READY, _STAYS = TURN, LOAD
# Speed of a site that has none: nothing is offered to it either.
_STILL, _ZERO = np.float32(1e-9), np.float32(0.0)


class Offers(NamedTuple):
    """A block of sites, with what `models.blocks` cannot hold.

    Attributes:
        found: of `models.blocks.scratch`.
        wide: a run of `BLOCK` for each field.
        kinds: (BLOCK,) int16 types of the sites whose costs are in the block.
    """

    found: NDArray[np.float32]
    wide: NDArray[np.float64]
    kinds: NDArray[np.int16]


@njit(**_OPTIONS)
def offers_of(found, columns):
    """Room beside a `scratch`, for as many services."""
    wide = np.zeros((len(columns) * OFFERS + _OWN) * BLOCK)
    return Offers(found, wide, np.full(BLOCK, -1, np.int16))


@njit(**_OPTIONS)
def offer(offers, rows, count, standing, coming, outcome, columns):
    """What comes of each service to `count` sites, and what it costs; all is served, so far.

    Args:
        offers: to fill.
        rows: of the sites.
        count: of them; places after the last are offered nothing.
        standing: of `serving`, as the others.
        coming: of the minute.
        outcome: of the minute before; lines are taken from it, and who is missed goes to it.
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    others, in_line = _gather(offers, rows, count, standing, coming, outcome, columns)
    if others > 0:
        _know_costs(offers, count, standing.cost, columns)
    _reckon(offers.found, offers.wide, count, columns)
    if in_line > 0:
        _join_lines(offers, rows, count, coming, outcome, columns)
    _turn_away(offers.wide, rows, count, outcome.over, outcome.turned, columns)
    for s in range(len(columns)):
        run(offers.found, s, RATE)[count:] = _ZERO


@njit(**_OPTIONS)
def _gather(offers, rows, count, standing, coming, outcome, columns):
    """Sites whose type is another than that of the site before in their place; those with lines."""
    found, wide, kinds = offers
    own, others, in_line = len(columns) * OFFERS, 0, 0
    for at in range(count):
        row = rows[at]
        wide[(own + SHARE) * BLOCK + at] = coming.share[row]
        wide[(own + COMPUTE) * BLOCK + at] = standing.compute[row]
        kind = standing.type_of[row]
        others += int(kinds[at] != kind)
        kinds[at] = kind
        in_line += int(outcome.held[row] != 0)
        for s in range(len(columns)):
            wide[(s * OFFERS + COME) * BLOCK + at] = coming.arrive[s, row]
            found[(s * FIELDS + _READY) * BLOCK + at] = coming.ready[s, row]
            found[(s * FIELDS + _STAYS) * BLOCK + at] = coming.stays[s, row]
            found[(s * FIELDS + BUSY) * BLOCK + at] = outcome.running[s, row]
    return others, in_line


@njit(**_OPTIONS)
def _know_costs(offers, count, cost, columns):
    """Costs of the sites' types; most blocks have those of the block before."""
    found, wide, kinds = offers
    for at in range(count):
        kind = kinds[at]
        for s in range(len(columns)):
            wide[(s * OFFERS + _PREFILL_S) * BLOCK + at] = cost[kind, s, turns.PREFILL]
            wide[(s * OFFERS + _LOST_S) * BLOCK + at] = cost[kind, s, turns.LOST]
            found[(s * FIELDS + ALONE) * BLOCK + at] = np.float32(cost[kind, s, turns.ALONE])
            found[(s * FIELDS + FULL) * BLOCK + at] = np.float32(cost[kind, s, turns.FULL])
        table = kind * (len(columns) * (CELLS + 1))
        found[(len(columns) * FIELDS + TABLE) * BLOCK + at] = np.float32(table)


@njit(**_OPTIONS)
def _reckon(found, wide, count, columns):
    """Rates and prefills of all services, and speeds, from what was gathered."""
    own = len(columns) * OFFERS
    for at in range(count):
        compute, share = wide[(own + COMPUTE) * BLOCK + at], wide[(own + SHARE) * BLOCK + at]
        wide[(own + _EACH) * BLOCK + at] = 1.0 / (MINUTE_S * max(compute * (1.0 / TOGETHER), 1.0))
        wide[(own + _LOST) * BLOCK + at] = 0.0
        speed = np.float32(share * min(compute, TOGETHER * 1.0))
        found[(len(columns) * FIELDS + SPEED) * BLOCK + at] = max(speed, _STILL)
    for s in range(len(columns)):
        for at in range(count):
            came = wide[(s * OFFERS + COME) * BLOCK + at] * MINUTE_S
            ready = np.float64(found[(s * FIELDS + _READY) * BLOCK + at])
            loaded = ready if wide[(own + SHARE) * BLOCK + at] > 0.0 else 0.0
            # Loaded in the middle of the minute: who came before found nobody.
            missed = came * (1.0 - loaded)
            wide[(s * OFFERS + COME) * BLOCK + at] = came - missed
            wide[(s * OFFERS + MISSED) * BLOCK + at] = missed
            wide[(own + _LOST) * BLOCK + at] += missed
            rate = (came - missed) * wide[(own + _EACH) * BLOCK + at]
            found[(s * FIELDS + RATE) * BLOCK + at] = np.float32(rate)
            leaves = 1.0 - np.float64(found[(s * FIELDS + _STAYS) * BLOCK + at])
            prefill = wide[(s * OFFERS + _PREFILL_S) * BLOCK + at]
            prefill += leaves * wide[(s * OFFERS + _LOST_S) * BLOCK + at]
            found[(s * FIELDS + PREFILL) * BLOCK + at] = np.float32(prefill)


@njit(**_OPTIONS)
def _join_lines(offers, rows, count, coming, outcome, columns):
    """Who is in line comes as well, or is sent on where the service is gone."""
    found, wide, _ = offers
    own = len(columns) * OFFERS
    for at in range(count):
        row = rows[at]
        if not outcome.held[row]:
            continue
        outcome.held[row] = 0
        for s in range(len(columns)):
            held, outcome.line[s, row] = outcome.line[s, row], 0.0
            came, missed = (
                coming.arrive[s, row] * MINUTE_S,
                wide[(s * OFFERS + MISSED) * BLOCK + at],
            )
            gone = coming.share[row] <= 0.0 or coming.ready[s, row] <= _ZERO
            missed += held if gone else 0.0
            some = came + held - missed
            wide[(s * OFFERS + COME) * BLOCK + at] = some
            wide[(s * OFFERS + MISSED) * BLOCK + at] = missed
            wide[(own + _LOST) * BLOCK + at] += missed
            rate = np.float32(some * wide[(own + _EACH) * BLOCK + at])
            found[(s * FIELDS + RATE) * BLOCK + at] = rate


@njit(**_OPTIONS)
def _turn_away(wide, rows, count, over, turned, columns):
    """Who is missed is refused; few sites miss any, or did in the minute before."""
    for at in range(count):
        row, lost = rows[at], wide[(len(columns) * OFFERS + _LOST) * BLOCK + at]
        if (turned[row] != 0) | (lost > 0.0):
            turned[row] = np.int8(lost > 0.0)
            for s in range(len(columns)):
                over[s, row] = wide[(s * OFFERS + MISSED) * BLOCK + at]
