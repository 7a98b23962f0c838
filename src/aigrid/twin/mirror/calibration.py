"""What the twin is told of an engine's speed: fitted on the first part of a recording only.

An engine's counters say, every quarter of a second, how long it worked on prompts and on decode
steps, and how many pieces, tokens, steps and sequences these were. The costs of a round are the
least-squares fit of time on counts over those windows, scaled so that they give the first part's
busy time exactly. Nothing of the part that is predicted is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.core.run_record import UNKNOWN_S, EngineRow
from aigrid.twin.mirror.recorded import RecordedRun
from aigrid.twin.scenario import EngineRounds

ROUNDS_NEEDED = 200
_TINY_S = 1e-7


@dataclass(frozen=True, slots=True)
class Calibration:
    """Speeds of a grid, as its twin gets them.

    Attributes:
        until_s: what came later was not looked at.
        engines: rounds by site.
        pooled: sites that worked too little for a fit of their own, and got that of all.
        places: sequences of an engine at once.
        path_s: from the gateway to the engine and back.
    """

    until_s: float
    engines: dict[str, EngineRounds]
    pooled: tuple[str, ...]
    places: int
    path_s: float


def calibrate(run: RecordedRun, from_s: float, until_s: float) -> Calibration:
    """Fit rounds and path on what was noted between two times.

    Raises:
        ConfigurationError: too little happened to fit anything.
    """
    windows: dict[str, list[NDArray[np.float64]]] = {p.site.name: [] for p in run.sites}
    places = 0
    for (site, _), rows in run.engines.items():
        part = [row for row in rows if from_s <= row.at_s <= until_s]
        places = max([places, *(row.places for row in part)])
        windows[site] += [_window(a, b) for a, b in pairwise(part) if b.rounds > a.rounds]
    everything = [window for found in windows.values() for window in found]
    if not everything or sum(window[_ROUNDS] for window in everything) < ROUNDS_NEEDED:
        raise ConfigurationError(
            f"{run.folder}: the first part has too little work to learn the engine's speed from",
            next_step=f"record under load: {ROUNDS_NEEDED} steps of the engine at least",
        )
    fed = _fed_fraction(run, from_s, until_s, everything)
    engines, pooled = {}, []
    for site, found in windows.items():
        enough = sum(window[_ROUNDS] for window in found) >= ROUNDS_NEEDED
        engines[site] = _fit(np.stack(found if enough else everything), fed)
        if not enough:
            pooled.append(site)
    return Calibration(until_s, engines, tuple(pooled), places or 1, _path_s(run, from_s, until_s))


_FILL_S, _DECODE_S, _GAP_S, _ROUNDS, _PIECES, _PROMPT, _STEPS, _SEQUENCES = range(8)


def _window(before: EngineRow, after: EngineRow) -> NDArray[np.float64]:
    """What happened between two readings; the gap is the pause beside the rest for the share."""
    work_s = after.fill_s - before.fill_s + after.decode_s - before.decode_s
    paused_s = after.paused_s - before.paused_s
    steady = before.share == after.share and after.share > 0.0
    rest_s = work_s * (1.0 / after.share - 1.0) if steady else paused_s
    return np.array(
        [
            after.fill_s - before.fill_s,
            after.decode_s - before.decode_s,
            paused_s - rest_s,
            after.rounds - before.rounds,
            after.pieces - before.pieces,
            after.prompt_tokens - before.prompt_tokens,
            after.steps - before.steps,
            after.sequences - before.sequences,
        ]
    )


def _fit(windows: NDArray[np.float64], fed_fraction: float) -> EngineRounds:
    piece_s, token_s = _two(windows, _FILL_S, _PIECES, _PROMPT)
    step_s, sequence_s = _two(windows, _DECODE_S, _STEPS, _SEQUENCES)
    gap_s = max(0.0, float(windows[:, _GAP_S].sum() / windows[:, _ROUNDS].sum()))
    return EngineRounds(
        piece_s=piece_s,
        prompt_token_s=max(token_s, _TINY_S),
        step_s=max(step_s, _TINY_S),
        sequence_s=sequence_s,
        gap_s=gap_s,
        fed_fraction=fed_fraction,
    )


def _two(windows: NDArray[np.float64], time: int, first: int, second: int) -> tuple[float, float]:
    """Non-negative costs a and b of `time = a * first + b * second`, that give the whole time."""
    y, x = windows[:, time], windows[:, [first, second]]
    if not y.sum() > 0.0:
        return 0.0, 0.0
    costs = np.linalg.lstsq(x, y, rcond=None)[0]
    if costs.min() < 0.0:
        alone = np.zeros(2)
        alone[int(costs.argmax())] = 1.0
        costs = alone
    costs = costs * (y.sum() / float((x @ costs).sum()))
    return float(costs[0]), float(costs[1])


def _fed_fraction(
    run: RecordedRun, from_s: float, until_s: float, windows: list[NDArray[np.float64]]
) -> float:
    """Prompt tokens that engines fed, of those that were asked: prefixes may be resident."""
    asked = sum(
        job.prompt_tokens
        for jobs in run.jobs.values()
        for job in jobs
        if job.first_s != UNKNOWN_S and from_s <= job.first_s <= until_s
    )
    fed = sum(float(window[_PROMPT]) for window in windows)
    return min(1.0, fed / asked) if asked else 1.0


def _path_s(run: RecordedRun, from_s: float, until_s: float) -> float:
    """Median time that requests spent outside of the engine, gateway and sites both."""
    outside = []
    for request in run.requests:
        if request.status != 200 or not from_s <= request.at_s < until_s or request.retries:
            continue
        if request.at_s + request.duration_s > until_s:
            continue
        job = run.job_of(request)
        if job is not None:
            outside.append(request.duration_s - (job.ended_s - job.began_s))
    return max(0.0, median(outside)) if outside else 0.0
