"""Shares that are set in blocks are those that the guard of a live site sets."""

from __future__ import annotations

import numpy as np
import pytest

from aigrid.control import forecast, guard
from aigrid.control.policy import Policy
from aigrid.twin.fluid import caution, guarded
from aigrid.twin.fluid.radio_kernels import BLOCK, LOG_OFFSET

ROWS, CELLS = 2 * BLOCK + 77, 7
POLICY = Policy()


def columns(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, CELLS, ROWS).astype(np.int16)
    return {
        "seen": LOG_OFFSET - rng.exponential(1.5, ROWS),
        "cells": cells,
        "compute": np.where(cells > 0, 0.4 * cells, 8.0),
        "preemption": rng.choice([0.2, 0.9, np.nan], ROWS),
        "has_radio": cells > 0,
        "miss": rng.choice([0.0, 1.0], ROWS, p=[0.9, 0.1]),
        "share": rng.random(ROWS),
    }


def tables() -> tuple[np.ndarray, np.ndarray]:
    rise = np.linspace(0.0, 1.0, caution.MEDIANS)
    slot = np.arange(CELLS)[:, None] * (0.05 + 0.35 * rise)
    return slot, 0.8 * slot


@pytest.mark.parametrize("knows", [True, False])
def test_blocks_are_decided_as_single_columns(knows: bool) -> None:
    c, (slot, sustained) = columns(3), tables()
    profile = forecast.empty(ROWS, 4)
    if knows:
        for minute in (100, 101):
            forecast.learn(profile, minute, c["seen"] - 0.1 * minute / 100, 0.1)
    ahead = forecast.ahead(profile, 101, 1, c["seen"], 0.0, 0.9, smooth=True)
    at = [caution.at_median(value) for value in ahead - LOG_OFFSET]
    slot_need, temporal = slot[c["cells"], at], c["preemption"] < 1.0
    need = np.where(temporal, sustained[c["cells"], at], slot_need)
    blocked = guard.blocked(slot_need, c["compute"], c["preemption"])
    missed, elapsed_s = c["miss"] > 0.5, np.full(ROWS, 60.0)
    shares = guard.shares(
        POLICY, need, c["compute"], c["has_radio"], missed, c["share"], elapsed_s, blocked
    )
    found, share = (np.zeros(ROWS), np.zeros(ROWS, np.bool_)), c["share"].copy()
    look = forecast.look_ahead(profile, 101, 1, 0.0, 0.9, smooth=True)
    for first, last in ((0, BLOCK + 5), (BLOCK + 5, ROWS)):
        guarded.set_shares(
            first,
            last,
            look,
            c["seen"],
            slot,
            sustained,
            c["cells"],
            c["compute"],
            c["preemption"],
            c["has_radio"],
            c["miss"],
            0.5,
            guard.dials(POLICY),
            60.0,
            *found,
            share,
        )
    assert np.array_equal(found[0], need)
    assert np.array_equal(found[1], blocked)
    assert np.array_equal(share, shares)
    assert 0 < np.count_nonzero(blocked) < ROWS
    assert 0 < np.count_nonzero(share > 0.0) < ROWS
