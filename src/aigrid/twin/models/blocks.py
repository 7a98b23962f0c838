# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""The fixed point of `turns` for many servers at once, in loops that a compiler makes vectors of.

Everything lies in one array of float32: a field of a service is a run of `BLOCK` numbers, one a
server. As all runs have known places in one array, the compiler knows that they do not overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.models.turns import CELLS, CLOSE, LEAST, ROUNDS

BLOCK = 256
# Fields of each service: what comes, what it costs, and what is found.
RATE, PREFILL, ALONE, FULL, BUSY, TURN, LOAD, _AT, _UPTO, FIELDS = range(10)
# Fields of a server, after those of all services.
SPEED, TABLE, ROOM, FULLEST, WANTED, DONE, IDLE, _LINE, _CUT, _SLOPE, OWN = range(11)
# Two fields of the integral's nodes follow, as many times as there are nodes.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_ZERO, _ONE, _LEAST, _CLOSE = np.float32(0.0), np.float32(1.0), np.float32(LEAST), np.float32(CLOSE)
_CELLS = np.float32(CELLS)


@njit(**_OPTIONS)
def of_server(block, name, columns):
    """The numbers of a field of servers, `SPEED` to `IDLE`."""
    own = len(columns) * FIELDS + name
    return block[own * BLOCK : (own + 1) * BLOCK]


@njit(**_OPTIONS)
def scratch(nodes, weights, columns):
    """Room for a block of servers with as many services as `columns` has; zeros, speeds of 1.

    Args:
        nodes: of `Turns`.
        weights: of it.
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    services = len(columns)
    found = np.zeros((services * FIELDS + OWN + 2 * len(nodes)) * BLOCK, np.float32)
    own = services * FIELDS
    of_server(found, SPEED, columns)[:] = _ONE
    for node in range(len(nodes)):
        at = (own + OWN + 2 * node) * BLOCK
        found[at : at + BLOCK] = np.float32(nodes[node])
        found[at + BLOCK : at + 2 * BLOCK] = np.float32(weights[node])
    return found


@njit(**_OPTIONS)
def run(block, service, name):
    """The numbers of a field of a service, one a server."""
    return block[(service * FIELDS + name) * BLOCK : (service * FIELDS + name + 1) * BLOCK]


@njit(**_OPTIONS)
def settle(block, tables, columns):
    """Find the fixed point of each server of a block, from `BUSY` as it was: see `turns`.

    Servers that have found it are walked on with the others of their block.

    Args:
        block: of `scratch`; `RATE` to `BUSY`, `SPEED` and `TABLE` are given, the rest is filled.
        tables: of `lines_of`, flat; `TABLE` is where those of a server begin.
        columns: as `scratch` has them.
    """
    own = len(columns) * FIELDS
    for at in range(BLOCK):
        wanted = _ZERO
        for s in range(len(columns)):
            wanted += (
                block[(s * FIELDS + RATE) * BLOCK + at] * block[(s * FIELDS + PREFILL) * BLOCK + at]
            )
        all_ = block[(own + SPEED) * BLOCK + at]
        block[(own + ROOM) * BLOCK + at] = max(all_ - wanted, _LEAST * all_)
    for _ in range(ROUNDS):
        _take_turns(block, columns)
        _look_up(block, tables, columns)
        moved = _move(block, columns)
        if _loads(block, columns) > 0:
            moved += _overfull(block, columns)
        if moved == 0:
            break


@njit(**_OPTIONS)
def _take_turns(block, columns):
    """The turn of each service, and where its load is in the table."""
    own = len(columns) * FIELDS
    for at in range(BLOCK):
        for s in range(len(columns)):
            block[(s * FIELDS + TURN) * BLOCK + at] = _ZERO
        for node in range((len(columns) + 1) // 2):
            z = block[(own + OWN + 2 * node) * BLOCK + at]
            upto = block[(own + OWN + 2 * node + 1) * BLOCK + at]
            for s in range(len(columns)):
                block[(s * FIELDS + _UPTO) * BLOCK + at] = upto
                upto *= _ONE - block[(s * FIELDS + BUSY) * BLOCK + at] * z
            after = _ONE
            for k in range(len(columns)):
                s = len(columns) - 1 - k
                block[(s * FIELDS + TURN) * BLOCK + at] += (
                    block[(s * FIELDS + _UPTO) * BLOCK + at] * after
                )
                after *= _ONE - block[(s * FIELDS + BUSY) * BLOCK + at] * z
        for s in range(len(columns)):
            x = block[(s * FIELDS + RATE) * BLOCK + at] * block[(s * FIELDS + ALONE) * BLOCK + at]
            given = block[(own + ROOM) * BLOCK + at] * block[(s * FIELDS + TURN) * BLOCK + at]
            block[(s * FIELDS + _AT) * BLOCK + at] = x / (x + given) * _CELLS


@njit(**_OPTIONS)
def _look_up(block, tables, columns):
    """Read the tables: all that is arithmetic apart from it, as only that becomes vectors."""
    own, one, whole = len(columns) * FIELDS, np.uint64(1), block.view(np.int32)
    for s in range(len(columns)):
        first = np.int32(s * (CELLS + 1))
        for at in range(BLOCK):
            cell = block[(own + TABLE) * BLOCK + at] + block[(s * FIELDS + _AT) * BLOCK + at]
            whole[(own + _LINE) * BLOCK + at] = first + np.int32(cell)
        for at in range(BLOCK):
            line = np.uint64(2) * np.uint64(whole[(own + _LINE) * BLOCK + at])
            block[(own + _CUT) * BLOCK + at] = tables[line]
            block[(own + _SLOPE) * BLOCK + at] = tables[line + one]
        for at in range(BLOCK):
            x = block[(s * FIELDS + _AT) * BLOCK + at]
            found = block[(own + _CUT) * BLOCK + at] + block[(own + _SLOPE) * BLOCK + at] * x
            block[(s * FIELDS + _AT) * BLOCK + at] = found


@njit(**_OPTIONS)
def _move(block, columns):
    """Take what was found; how many servers moved another by more than is close."""
    far = 0
    for at in range(BLOCK):
        moved, decoding = _ZERO, _ZERO
        for s in range(len(columns)):
            found = block[(s * FIELDS + _AT) * BLOCK + at]
            moved = max(moved, abs(found - block[(s * FIELDS + BUSY) * BLOCK + at]))
            decoding += found
            block[(s * FIELDS + BUSY) * BLOCK + at] = found
        far += int(moved * decoding > _CLOSE)
    return far


@njit(**_OPTIONS)
def _loads(block, columns):
    """Loads as of full batches; how many servers have one of 1 or more."""
    own, many = len(columns) * FIELDS, 0
    for at in range(BLOCK):
        fullest = _ZERO
        for s in range(len(columns)):
            given = block[(own + ROOM) * BLOCK + at] * block[(s * FIELDS + TURN) * BLOCK + at]
            work = block[(s * FIELDS + RATE) * BLOCK + at] * block[(s * FIELDS + FULL) * BLOCK + at]
            load = work / given
            block[(s * FIELDS + LOAD) * BLOCK + at] = load
            fullest = max(fullest, load)
        block[(own + FULLEST) * BLOCK + at] = fullest
        many += int(fullest >= _ONE)
    return many


@njit(**_OPTIONS)
def _overfull(block, columns):
    """Room of servers that are offered too much, if of full batches what these do gets through."""
    own, far = len(columns) * FIELDS, 0
    for at in range(BLOCK):
        free, full, decoding = _ZERO, _ZERO, _ZERO
        for s in range(len(columns)):
            prefill = block[(s * FIELDS + PREFILL) * BLOCK + at]
            if block[(s * FIELDS + LOAD) * BLOCK + at] >= _ONE:
                block[(s * FIELDS + BUSY) * BLOCK + at] = _ONE
                turn = block[(s * FIELDS + TURN) * BLOCK + at]
                full += prefill * turn / block[(s * FIELDS + FULL) * BLOCK + at]
            else:
                free += block[(s * FIELDS + RATE) * BLOCK + at] * prefill
            decoding += block[(s * FIELDS + BUSY) * BLOCK + at]
        if full > _ZERO:
            speed, before = block[(own + SPEED) * BLOCK + at], block[(own + ROOM) * BLOCK + at]
            room = max((speed - free) / (_ONE + full), _LEAST * speed)
            block[(own + ROOM) * BLOCK + at] = room
            far += int(abs(room - before) * decoding > _CLOSE * speed)
    return far


def lines_of(busy):
    """`busy` of `Turns` as straight lines: (T * S * (CELLS + 1), 2) intercepts and slopes, flat.

    At the last cell, where x / (1 + x) is 1, a service decodes all the time.
    """
    cells = np.arange(CELLS)
    slope = np.diff(busy.astype(np.float64), axis=-1)
    lines = np.zeros((*busy.shape, 2), np.float32)
    lines[..., :-1, 0] = busy[..., :-1] - slope * cells
    lines[..., :-1, 1] = slope
    lines[..., -1, 0] = busy[..., -1]
    return np.ascontiguousarray(lines.reshape(-1))
