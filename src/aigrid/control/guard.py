"""The radio guard: what compute AI may use, given what the radio needs. The radio always wins."""

from __future__ import annotations

import numpy as np

from aigrid.control.policy import Policy
from aigrid.core.state import BoolColumn, FloatColumn


def room(policy: Policy, need_cores: FloatColumn, compute_cores: FloatColumn) -> FloatColumn:
    """The fraction of each site's compute that the radio's need and the margin leave, 0 to 1."""
    free = 1.0 - need_cores / np.maximum(compute_cores, 1e-9) - policy.guard_margin
    return np.clip(free, 0.0, 1.0 - policy.guard_margin)


def shares(
    policy: Policy,
    need_cores: FloatColumn,
    compute_cores: FloatColumn,
    has_radio: BoolColumn,
    missed: BoolColumn,
    share: FloatColumn,
    elapsed_s: FloatColumn,
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

    Returns:
        (N,) new shares, 0 to 1; exactly 0 below `guard_floor`; 1 where there is no radio.
    """
    left = room(policy, need_cores, compute_cores)
    target = np.where(missed, np.minimum(left, share * policy.guard_miss_factor), left)
    risen = np.minimum(target, share + policy.guard_rise_per_s * np.maximum(elapsed_s, 0.0))
    moved = np.where(target < share, target, risen)
    close = (np.abs(moved - share) < policy.guard_step) & ~missed & (target > 0.0)
    kept = np.where(close, share, moved)
    safe = np.minimum(kept, left)
    floored = np.where(safe < policy.guard_floor, 0.0, safe)
    return np.where(has_radio, floored, 1.0)
