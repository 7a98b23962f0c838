# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""The radio guard of many sites at once, by the kernels that `control` decides a live site with.

Blocks of rows go through all of them, so that what one finds is still in the processor's cache for
the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from aigrid.control import forecast, guard
from aigrid.twin.fluid import caution
from aigrid.twin.fluid.radio_kernels import BLOCK
from aigrid.twin.sources import digest

_OPTIONS = {"nogil": True, "error_model": "numpy"}


@njit(cache=True, **_OPTIONS)
def _over(miss, limit, found):
    for row in range(len(found)):
        found[row] = miss[row] > limit


def _compiled(code: str) -> Any:
    @njit(cache=True, **_OPTIONS)
    def set_shares(
        first,
        last,
        look,
        seen,
        slot,
        sustained,
        cells,
        compute,
        preemption,
        has_radio,
        miss,
        miss_rate,
        dials,
        elapsed_s,
        need,
        blocked,
        share,
    ):
        """Set `need`, `blocked` and `share` of some rows for a minute; returns `code`.

        Args:
            first: row.
            last: row, without it.
            look: of `forecast.look_ahead`, from the minute before to this one.
            seen: (N,) log of load, plus `LOG_OFFSET`, as measured last.
            slot: of `Caution`.
            sustained: of `Caution`.
            cells: (N,).
            compute: (N,) devices.
            preemption: (N,) of `Ground`.
            has_radio: (N,).
            miss: (N,) expected part of slots that were missed.
            miss_rate: above which the share is cut.
            dials: of `guard.dials`.
            elapsed_s: since the minute before.
            need: (N,) devices that the radio is reckoned to need.
            blocked: (N,) where AI must be off.
            share: (N,) of compute that AI may use.
        """
        here_, here_too, part, there, there_too, part_there, spread, kept, unknown = look
        flat_slot, flat_sustained = slot.reshape(-1), sustained.reshape(-1)
        all_ahead, all_slot, all_new = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
        all_place, all_missed = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.bool_)
        elapsed = np.full(BLOCK, elapsed_s)
        for begin in range(first, last, BLOCK):
            rows, count = slice(begin, min(begin + BLOCK, last)), min(BLOCK, last - begin)
            ahead, slot_need, new = all_ahead[:count], all_slot[:count], all_new[:count]
            place, missed = all_place[:count], all_missed[:count]
            forecast.ahead_of(
                here_[rows],
                here_too[rows],
                part,
                there[rows],
                there_too[rows],
                part_there,
                spread[rows],
                kept,
                unknown,
                seen[rows],
                ahead,
            )
            caution.places(cells[rows], ahead, place)
            caution.needs(flat_slot, flat_sustained, place, preemption[rows], need[rows], slot_need)
            guard.blocked_of(slot_need, compute[rows], preemption[rows], blocked[rows])
            _over(miss[rows], miss_rate, missed)
            guard.shares_of(
                need[rows],
                compute[rows],
                has_radio[rows],
                missed,
                share[rows],
                elapsed[:count],
                blocked[rows],
                dials,
                new,
            )
            share[rows] = new
        return code

    return set_shares


# As in `region.events`: it is `control`'s present code that runs, not what was compiled before.
set_shares = _compiled(digest(forecast, guard))
