"""The radio guard: what compute AI may use, given what the radio needs. The radio always wins."""

from __future__ import annotations

import numpy as np
from numba import njit, vectorize

from aigrid.control.policy import Policy
from aigrid.core.state import BoolColumn, FloatColumn


def room(policy: Policy, need_cores: FloatColumn, compute_cores: FloatColumn) -> FloatColumn:
    """The fraction of each site's compute that the radio's need and the margin leave, 0 to 1."""
    left: FloatColumn = _left(need_cores, compute_cores, policy.guard_margin)
    return left


@vectorize(["float64(float64, float64, float64)"], cache=True)
def _left(need, compute, margin):  # type: ignore[no-untyped-def]
    return min(max(1.0 - need / max(compute, 1e-9) - margin, 0.0), 1.0 - margin)


def shares(
    policy: Policy,
    need_cores: FloatColumn,
    compute_cores: FloatColumn,
    has_radio: BoolColumn,
    missed: BoolColumn,
    share: FloatColumn,
    elapsed_s: FloatColumn,
    blocked: BoolColumn | None = None,
) -> FloatColumn:
    """The fraction of each site's compute that AI may use from now on.

    Falls at once and as far as it must; rises slowly, so that a burst after a lull finds the room
    it had. Missed slots cut the share whatever the need says, since then the need was wrong.

    Args:
        policy: dials.
        need_cores: (N,) forecast compute of the radio.
        compute_cores: (N,) compute of the site.
        has_radio: (N,) whether there is a radio to guard.
        missed: (N,) whether slots were missed since the last look.
        share: (N,) present shares, 0 to 1.
        elapsed_s: (N,) time since the share was last changed or held down; it buys the rise.
        blocked: (N,) whether AI must be off altogether, see `blocked`; None for nowhere.

    Returns:
        (N,) new shares, 0 to 1; exactly 0 below `guard_floor`; 1 where there is no radio.
    """
    count = len(share)
    new: FloatColumn = _shares(
        np.ascontiguousarray(need_cores, np.float64),
        np.ascontiguousarray(compute_cores, np.float64),
        np.ascontiguousarray(has_radio, np.bool_),
        np.ascontiguousarray(missed, np.bool_),
        np.ascontiguousarray(share, np.float64),
        np.ascontiguousarray(np.broadcast_to(elapsed_s, (count,)), np.float64),
        np.zeros(count, np.bool_) if blocked is None else np.ascontiguousarray(blocked, np.bool_),
        policy.guard_margin,
        policy.guard_step,
        policy.guard_rise_per_s,
        policy.guard_floor,
        policy.guard_miss_factor,
    )
    return new


@njit(cache=True, nogil=True)
def _shares(  # type: ignore[no-untyped-def]
    need, compute, has_radio, missed, share, elapsed_s, blocked, margin, step, rise, floor, factor
):
    new = np.ones(len(share))
    for row in range(len(share)):
        if has_radio[row]:
            left = _left(need[row], compute[row], margin)
            new[row] = _share(
                left, missed[row], share[row], elapsed_s[row], step, rise, floor, factor
            )
            if blocked[row]:
                new[row] = 0.0
    return new


@njit(cache=True, nogil=True)
def _share(left, missed, share, elapsed_s, step, rise, floor, factor):  # type: ignore[no-untyped-def]
    target = min(left, share * factor) if missed else left
    moved = target
    if target >= share:
        moved = min(target, share + rise * max(elapsed_s, 0.0))
    if abs(moved - share) < step and not missed and target > 0.0:
        moved = share
    safe = min(moved, left)
    return safe if safe >= floor else 0.0


def blocked(
    slot_need_cores: FloatColumn, compute_cores: FloatColumn, preemption: FloatColumn
) -> BoolColumn:
    """Sites where a slot would be late while AI runs, though it makes way: AI must be off there.

    With temporal sharing AI leaves the computer within a part p of a slot's deadline, so that the
    slot has 1 - p of the deadline's worth of compute. With spatial sharing the share decides alone.

    Args:
        slot_need_cores: (N,) compute that a slot may need, a high quantile.
        compute_cores: (N,) compute of the site.
        preemption: (N,) p; 1 or more, or NaN, for spatial sharing.

    Returns:
        (N,) bool.
    """
    temporal = preemption < 1.0  # False for NaN
    return temporal & (
        slot_need_cores > compute_cores * (1.0 - np.where(temporal, preemption, 0.0))
    )


def notice(
    policy: Policy, need_ahead_cores: FloatColumn, compute_cores: FloatColumn, share: FloatColumn
) -> FloatColumn:
    """The shares that are to come where the forecast says that they must fall.

    Args:
        policy: dials.
        need_ahead_cores: (N,) compute of the radio, forecast for `notice_s` from now.
        compute_cores: (N,) compute of the site.
        share: (N,) present shares.

    Returns:
        (N,) shares at `notice_s` from now where those are lower by `guard_step` or more, else 1.
    """
    left = room(policy, need_ahead_cores, compute_cores)
    kept = np.where(left < policy.guard_floor, 0.0, left)
    return np.where(share - kept >= policy.guard_step, kept, 1.0)
