"""What the twin is told of an engine's speed: fitted on the first part of a recording only.

An engine's counters say, every quarter of a second, how long it worked on prompts and on decode
steps, and how many pieces, tokens, steps and sequences these were. The costs of a round are the
least-squares fit of time on counts over those windows, scaled so that they give the first part's
busy time exactly. How much longer or shorter the work of a window took than the costs say is kept
too: a machine that radios, sites and clients share is not steady. The ways to the engine and back
are those that requests of the first part took. Nothing of the part that is predicted is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.core.run_record import UNKNOWN_S, EngineRow
from aigrid.twin.mirror.recorded import RecordedRun
from aigrid.twin.mirror.weather import Weather
from aigrid.twin.scenario import EngineRounds

ROUNDS_NEEDED = 200
WINDOW_S = 0.25
# Less work in a window than this says nothing of how fast the machine was.
WORK_NEEDED_S = 0.01
CROWDING_RANGE, CROWDING_STEPS = (0.5, 3.0), 100
_TINY_S = 1e-7
_WORK = ("piece_s", "prompt_token_s", "step_s", "sequence_s")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Speeds of a grid, as its twin gets them.

    Attributes:
        until_s: what came later was not looked at.
        engines: rounds by site.
        pooled: sites that worked too little for a fit of their own, and got that of all.
        places: sequences of an engine at once.
        there_s: (N,) ways from the gateway to the engine.
        back_s: (M,) and back, of first pieces and of ends.
        slowness: (W,) of the machine in each `WINDOW_S`, in order, 1 on average over work.
        wake_s: until an engine's thread has noticed a job, and its site the first piece.
        weather: that the machine is driven by; None where none was recorded, or none is wanted.
        crowding: how many threads each of the weather's counts for.
    """

    until_s: float
    engines: dict[str, EngineRounds]
    pooled: tuple[str, ...]
    places: int
    there_s: NDArray[np.float64]
    back_s: NDArray[np.float64]
    slowness: NDArray[np.float64]
    wake_s: float = 0.0
    weather: Weather | None = None
    crowding: float = 1.0

    @property
    def path_s(self) -> float:
        """Median way, there and back, with the waking."""
        return float(np.median(self.there_s) + np.median(self.back_s)) + self.wake_s


def calibrate(
    run: RecordedRun, from_s: float, until_s: float, weather: Weather | None = None
) -> Calibration:
    """Fit rounds and path on what was noted between two times.

    With weather the costs are processor time, and how much longer work took is the machine's.

    Raises:
        ConfigurationError: too little happened to fit anything.
    """
    windows: dict[str, list[NDArray[np.float64]]] = {p.site.name: [] for p in run.sites}
    for (site, _), rows in run.engines.items():
        part = [row for row in rows if from_s <= row.at_s <= until_s]
        found = [_window(a, b) for a, b in pairwise(part) if b.rounds > a.rounds]
        windows[site] += [_worked(window) for window in found] if weather else found
    every = [window for found in windows.values() for window in found]
    if not every or sum(window[_ROUNDS] for window in every) < ROUNDS_NEEDED:
        raise ConfigurationError(
            f"{run.folder}: the first part has too little work to learn the engine's speed from",
            next_step=f"record under load: {ROUNDS_NEEDED} steps of the engine at least",
        )
    fed = _fed_fraction(run, from_s, until_s, every)
    parts = {
        site: np.stack(found if sum(w[_ROUNDS] for w in found) >= ROUNDS_NEEDED else every)
        for site, found in windows.items()
    }
    engines = {site: _fit(found, fed) for site, found in parts.items()}
    crowding = _crowding(run, weather, from_s, until_s) if weather else 1.0
    there_s, back_s = _ways(run, from_s, until_s)
    return Calibration(
        until_s=until_s,
        engines=engines,
        pooled=tuple(s for s, found in windows.items() if len(parts[s]) != len(found)),
        places=max(row.places for rows in run.engines.values() for row in rows) or 1,
        there_s=there_s,
        back_s=back_s,
        slowness=_slowness(windows, engines, from_s, until_s),
        weather=weather,
        crowding=crowding,
    )


_FILL_S, _DECODE_S, _GAP_S, _ROUNDS, _PIECES, _PROMPT, _STEPS, _SEQUENCES, _AT_S, _CPU_S = range(10)


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
            after.at_s,
            after.cpu_s - before.cpu_s,
        ]
    )


def _worked(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same window with the processor's time in place of time, in the same proportions."""
    worked = window.copy()
    took_s = window[_FILL_S] + window[_DECODE_S]
    worked[[_FILL_S, _DECODE_S]] *= min(1.0, window[_CPU_S] / took_s) if took_s > 0.0 else 1.0
    return worked


def _crowding(run: RecordedRun, weather: Weather, from_s: float, until_s: float) -> float:
    """By how much the weather's crowd weighs, for engines to have taken as long as they did.

    With n engines at work among k others, work of w takes w * max(1, (n + crowding * k) / cores)
    where threads share cores. Others count for more than an engine, because engines yield to all
    (`radio.protection.yield_to_radio`): for about two, by what was recorded (docs/decisions/0226).
    """
    edges = np.arange(from_s, until_s, 1.0)
    took_s, cpu_s = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for rows in run.engines.values():
        at_s = [row.at_s for row in rows]
        took_s += np.diff(np.interp(edges, at_s, [row.fill_s + row.decode_s for row in rows]))
        cpu_s += np.diff(np.interp(edges, at_s, [row.cpu_s for row in rows]))
    engines = np.maximum(1.0, took_s)  # of a second: so many at work on average
    crowd = np.array([weather.mean(weather.crowd, at_s, at_s + 1.0) for at_s in edges[:-1]])
    tried = np.geomspace(*CROWDING_RANGE, CROWDING_STEPS)
    told = [
        float((cpu_s * np.maximum(1.0, (engines + one * crowd) / weather.cores)).sum())
        for one in tried
    ]
    return float(np.interp(took_s.sum(), told, tried))


def time_for_work(
    run: RecordedRun, calibration: Calibration, from_s: float, until_s: float
) -> float:
    """Work time of a part of the recording over what the costs say: how slow the machine was."""
    real = told = 0.0
    for (site, _), rows in run.engines.items():
        part = [row for row in rows if from_s <= row.at_s <= until_s]
        if len(part) > 1:
            window = _window(part[0], part[-1])
            real += float(window[_FILL_S] + window[_DECODE_S])
            told += _told_s(window, calibration.engines[site])
    return real / told if told > 0.0 else 1.0


def _told_s(window: NDArray[np.float64], costs: EngineRounds) -> float:
    """How long the costs say that the work of a window takes."""
    fill_s = costs.piece_s * window[_PIECES] + costs.prompt_token_s * window[_PROMPT]
    decode_s = costs.step_s * window[_STEPS] + costs.sequence_s * window[_SEQUENCES]
    return float(fill_s + decode_s)


def scaled(calibration: Calibration, factors: dict[str, float], wake_s: float) -> Calibration:
    """The same speeds with each site's costs of work times a factor, and another waking."""
    engines = {}
    for site, costs in calibration.engines.items():
        longer = {name: getattr(costs, name) * factors[site] for name in _WORK}
        engines[site] = costs.model_copy(update=longer)
    return replace(calibration, engines=engines, wake_s=max(0.0, wake_s))


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


def _slowness(
    windows: dict[str, list[NDArray[np.float64]]],
    engines: dict[str, EngineRounds],
    from_s: float,
    until_s: float,
) -> NDArray[np.float64]:
    """Work time over what the costs say, all sites together, as the first part went by."""
    count = max(1, int((until_s - from_s) / WINDOW_S))
    real, told = np.zeros(count), np.zeros(count)
    for site, found in windows.items():
        for window in found:
            at = min(count - 1, int((window[_AT_S] - from_s) / WINDOW_S))
            real[at] += window[_FILL_S] + window[_DECODE_S]
            told[at] += _told_s(window, engines[site])
    known = told >= WORK_NEEDED_S
    slowness = np.where(known, real / np.where(known, told, 1.0), 1.0)
    mean = float((slowness * told).sum() / told.sum()) if told.sum() > 0.0 else 1.0
    steady: NDArray[np.float64] = slowness / mean
    return steady


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


def _ways(
    run: RecordedRun, from_s: float, until_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times that whole answers of the first part spent before the engine and behind it."""
    there, back = [], []
    for request in run.requests:
        end_s = request.at_s + request.duration_s
        job = run.job_of(request)
        if job is None or request.status != 200 or request.retries:
            continue
        if not (from_s <= request.at_s and end_s <= until_s):
            continue
        there.append(job.began_s - request.at_s)
        back.append(end_s - job.ended_s)
        if request.ttft_s != UNKNOWN_S:
            back.append(request.at_s + request.ttft_s - job.first_s)
    return np.maximum(there or [0.0], 0.0), np.maximum(back or [0.0], 0.0)
