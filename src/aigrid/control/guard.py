"""The radio guard: what compute AI may use, given what the radio needs. The radio always wins."""

from __future__ import annotations

import numpy as np
from numba import njit, vectorize

from aigrid.control.policy import Policy
from aigrid.core.state import BoolColumn, FloatColumn

# No check for division by zero in loops: every divisor is kept above 0.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


def room(policy: Policy, need_cores: FloatColumn, compute_cores: FloatColumn) -> FloatColumn:
    """The fraction of each site's compute that the radio's need and the margin leave, 0 to 1."""
    left: FloatColumn = _room(need_cores, compute_cores, policy.guard_margin)
    return left


@njit(**_OPTIONS)
def _left(need, compute, margin):  # type: ignore[no-untyped-def]
    return min(max(1.0 - need / max(compute, 1e-9) - margin, 0.0), 1.0 - margin)


@vectorize(["float64(float64, float64, float64)"], cache=True)
def _room(need, compute, margin):  # type: ignore[no-untyped-def]
    return _left(need, compute, margin)


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
    new: FloatColumn = np.empty(count)
    shares_of(
        np.ascontiguousarray(need_cores, np.float64),
        np.ascontiguousarray(compute_cores, np.float64),
        np.ascontiguousarray(has_radio, np.bool_),
        np.ascontiguousarray(missed, np.bool_),
        np.ascontiguousarray(share, np.float64),
        np.ascontiguousarray(np.broadcast_to(elapsed_s, (count,)), np.float64),
        np.zeros(count, np.bool_) if blocked is None else np.ascontiguousarray(blocked, np.bool_),
        dials(policy),
        new,
    )
    return new


def dials(policy: Policy) -> tuple[float, float, float, float, float]:
    """Those of the guard, for `shares_of`."""
    return (
        policy.guard_margin,
        policy.guard_step,
        policy.guard_rise_per_s,
        policy.guard_floor,
        policy.guard_miss_factor,
    )


@njit(**_OPTIONS)
def shares_of(  # type: ignore[no-untyped-def]
    need, compute, has_radio, missed, share, elapsed_s, blocked, dials, new
):
    """Fill `new` with the shares of `shares`, from its columns; `new` may not lie in them."""
    margin, step, rise, floor, factor = dials
    # Without branches, so that a processor does several sites at once.
    for row in range(len(share)):
        left, now = _left(need[row], compute[row], margin), share[row]
        target = min(left, now * factor) if missed[row] else left
        risen = min(target, now + rise * max(elapsed_s[row], 0.0))
        moved = risen if target >= now else target
        is_small = (abs(moved - now) < step) & (not missed[row]) & (target > 0.0)
        safe = min(now if is_small else moved, left)
        safe = 0.0 if (safe < floor) | blocked[row] else safe
        new[row] = safe if has_radio[row] else 1.0


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
    late: BoolColumn = np.empty(len(compute_cores), np.bool_)
    blocked_of(
        np.ascontiguousarray(slot_need_cores, np.float64),
        np.ascontiguousarray(compute_cores, np.float64),
        np.ascontiguousarray(preemption, np.float64),
        late,
    )
    return late


@njit(**_OPTIONS)
def blocked_of(slot_need, compute, preemption, late):  # type: ignore[no-untyped-def]
    """Fill `late` with what `blocked` finds."""
    for row in range(len(compute)):
        # False for NaN.
        part = preemption[row]
        late[row] = (part < 1.0) & (slot_need[row] > compute[row] * (1.0 - part))


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
