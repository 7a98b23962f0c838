"""What a trace says about a service: lengths, what prompts share, when requests come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.traces import DAY_S, Trace
from aigrid.twin.models.lengths import from_counts
from aigrid.twin.models.service import TokenLengths
from aigrid.twin.models.shapes import MINUTES

# A day's trace may miss that much at its ends.
SLACK_S = 1800.0
# Minutes over which the shape of a day is a mean.
SMOOTH_MIN = 31
Floats = NDArray[np.float64]


def lengths_of(tokens: NDArray[np.int64]) -> TokenLengths:
    """Quantiles of token counts, their mean as counted."""
    return from_counts(tokens.astype(np.float64))


def shared_tokens(trace: Trace) -> NDArray[np.int64]:
    """(R,) leading tokens of each prompt that an earlier request of the trace had too.

    An upper limit of what a cache spares: it forgets nothing, and all requests share it.
    """
    if not len(trace.block_id):
        return np.zeros(len(trace), np.int64)
    counts = np.diff(trace.block_start)
    row = np.repeat(np.arange(len(trace)), counts)
    _, first, which = np.unique(trace.block_id, return_index=True, return_inverse=True)
    is_new = row[first][which] == row
    place = np.arange(len(row)) - trace.block_start[row]
    kept = counts.copy()
    np.minimum.at(kept, row[is_new], place[is_new])
    shared: NDArray[np.int64] = np.minimum(kept * trace.block_tokens, trace.prompt_tokens)
    return shared


def whole_days(trace: Trace) -> int:
    """How many days it covers, but for half an hour."""
    return int((trace.span_s + SLACK_S) // DAY_S)


def requests_per_day(trace: Trace) -> float:
    """Mean over its whole days."""
    days = max(whole_days(trace), 1)
    return float(np.count_nonzero(trace.at_s < days * DAY_S)) / days


def day_shape(trace: Trace, starts_s: float) -> Floats:
    """Requests of each minute of the day over those of a mean one: (1440,), mean 1.

    Args:
        trace: of a day or more; its whole days count.
        starts_s: time of day of the first request, seconds after midnight.
    """
    whole = trace.at_s[trace.at_s < whole_days(trace) * DAY_S]
    minute = ((whole + starts_s) / 60.0).astype(np.int64) % MINUTES
    counts = np.bincount(minute, minlength=MINUTES).astype(np.float64)
    side = SMOOTH_MIN // 2
    wide = np.concatenate((counts[-side:], counts, counts[:side]))
    smooth: Floats = np.convolve(wide, np.full(SMOOTH_MIN, 1.0 / SMOOTH_MIN), "valid")
    return smooth / float(smooth.mean())


def told(trace: Trace) -> str:
    """What a trace gives, in a sentence."""
    prompt = trace.prompt_tokens.mean()
    parts = [
        f"{trace.origin}: {len(trace):,} requests in {trace.span_s / 3600.0:.1f} h",
        f"prompts of {prompt:,.0f} tokens and answers of {trace.output_tokens.mean():,.0f}",
    ]
    if trace.block_tokens:
        shared = shared_tokens(trace).mean()
        parts.append(f"{shared / prompt:.0%} of prompt tokens shared with earlier requests")
    day = "a day or more: gives the shape of the day"
    parts.append(day if whole_days(trace) else "less than a day: gives no shape of the day")
    return ", ".join(parts)
