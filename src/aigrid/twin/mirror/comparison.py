"""Predicted against measured, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.run_record import RequestRow
from aigrid.twin.gateway import ANSWERED, OPEN, Request
from aigrid.twin.mirror.calibration import Calibration, time_for_work
from aigrid.twin.mirror.recorded import RecordedRun

TARGET_PCT = 15.0
DRIFT_NOTED_PCT = 5.0
# An engine that works so much of its time has none left.
FULL = 0.97
TARGET_ROWS = ("ttft_ms_p50", "answer_ms_p50", "utilisation_mean")
# What a prediction is given of the part that it predicts.
INPUTS = (
    "sites, services and the control plane's dials",
    "each request's arrival, origin, prompt tokens and answer tokens",
    "each radio's load, need and slots",
)
WEATHER = "the machine's weather: what others and the radios took of it, how fast its cores were"
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: with its unit last.
        measured: in the recording.
        predicted: by the twin.
    """

    name: str
    measured: float
    predicted: float

    @property
    def error_pct(self) -> float | None:
        """(predicted - measured) / measured in %; None where nothing was measured."""
        if not self.measured:
            return None
        return 100.0 * (self.predicted - self.measured) / self.measured

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        error = self.error_pct
        return {
            "name": self.name,
            "measured": self.measured,
            "predicted": self.predicted,
            "error_pct": None if error is None else round(error, 2),
        }


@dataclass(frozen=True, slots=True)
class Mirror:
    """A prediction of a recorded run.

    Attributes:
        folder: of the recording.
        commit: of the code that ran.
        seed: of chance.
        sites: of the grid.
        fitted_s: length of the first part, which speeds were learnt from.
        predicted_s: length of the part that was predicted.
        requests: that arrived in it.
        unfinished: of them, still open in the twin when it was stopped.
        rows: figures of the predicted part.
        rounds: what was learnt, by site, in seconds.
        path_ms: outside of the engine, there and back.
        load_average: of the machine, mean and highest, over the whole recording.
        blind: the same figures predicted without the machine's weather; empty where none was
            recorded, and `rows` are without it.
        weather_pct: by how much longer the same work takes in the predicted part than in the first,
            as the weather tells; 0 without.
        drift_pct: by how much longer engines took for it, measured; no model of a grid can know it,
            and the prediction does not use it.
        notes: what limits the comparison.
        trace_sha256: of the twin's run.
    """

    folder: str
    commit: str
    seed: int
    sites: int
    fitted_s: float
    predicted_s: float
    requests: int
    unfinished: int
    rows: tuple[Row, ...]
    rounds: dict[str, dict[str, float]]
    path_ms: float
    load_average: tuple[float, float]
    blind: tuple[Row, ...]
    weather_pct: float
    drift_pct: float
    notes: tuple[str, ...]
    trace_sha256: str

    def row(self, name: str) -> Row:
        """A figure by name.

        Raises:
            KeyError: there is none.
        """
        return {row.name: row for row in self.rows}[name]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the twin was given of the part that it predicts."""
        return (*INPUTS, *[WEATHER] * bool(self.blind))

    @property
    def within_target(self) -> bool:
        """Whether medians and mean utilisation are predicted within `TARGET_PCT`."""
        errors = [row.error_pct for row in self.rows if row.name in TARGET_ROWS]
        return all(error is not None and abs(error) <= TARGET_PCT for error in errors)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recording": self.folder,
            "commit": self.commit,
            "seed": self.seed,
            "sites": self.sites,
            "fitted_s": round(self.fitted_s, 1),
            "predicted_s": round(self.predicted_s, 1),
            "requests": self.requests,
            "unfinished": self.unfinished,
            "within_target": self.within_target,
            "rows": [row.to_dict() for row in self.rows],
            "rounds": self.rounds,
            "path_ms": round(self.path_ms, 3),
            "load_average_mean": round(self.load_average[0], 2),
            "load_average_max": round(self.load_average[1], 2),
            "inputs": list(self.inputs),
            "without_weather": [row.to_dict() for row in self.blind],
            "weather_pct": round(self.weather_pct, 2),
            "drift_pct": round(self.drift_pct, 2),
            "notes": list(self.notes),
            "trace_sha256": self.trace_sha256,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What the twin's run left behind.

    Attributes:
        requests: all, in order of arrival.
        zero_s: recorded time of simulated time 0.
        busy_at_s: (T,) recorded times.
        busy_s: by site, (T,) work of its engines so far.
        trace_sha256: of the run.
    """

    requests: tuple[Request, ...]
    zero_s: float
    busy_at_s: Times
    busy_s: dict[str, Times]
    trace_sha256: str


@dataclass(frozen=True, slots=True)
class _Side:
    """The same figures of either side."""

    ttft_s: Times
    answer_s: Times
    tokens: float
    by_site: dict[str, float]
    busy: dict[str, float]


def compare(
    run: RecordedRun,
    calibration: Calibration,
    seen: Seen,
    window: tuple[float, float],
    fitted: tuple[float, float],
    seed: int,
    blind: Seen | None = None,
) -> Mirror:
    """Set predicted and measured figures of a window side by side.

    Args:
        run: the recording.
        calibration: what the twin knew.
        seen: its run.
        window: from when to when requests arrived that are compared.
        fitted: likewise, that the calibration saw.
        seed: of chance.
        blind: the twin's run without the weather, where there was one.
    """
    real, twin = _measured(run, window), _predicted(run, seen, window)
    span_s = window[1] - window[0]
    born = [r for r in seen.requests if window[0] <= r.born_s + seen.zero_s <= window[1]]
    slower = time_for_work(run, calibration, *window) / time_for_work(run, calibration, *fitted)
    drift_pct = 100.0 * (slower - 1.0)
    weather_pct = _weather_pct(calibration, window, fitted)
    loads = np.array(run.load_average or [0.0])
    return Mirror(
        folder=str(run.folder),
        commit=run.commit,
        seed=seed,
        sites=len(run.sites),
        fitted_s=fitted[1] - fitted[0],
        predicted_s=span_s,
        requests=len(born),
        unfinished=sum(request.status == OPEN for request in born),
        rows=_rows(real, twin, span_s),
        rounds={site: one.model_dump() for site, one in calibration.engines.items()},
        path_ms=1000.0 * calibration.path_s,
        load_average=(float(loads.mean()), float(loads.max())),
        blind=_rows(real, _predicted(run, blind, window), span_s) if blind else (),
        weather_pct=weather_pct,
        drift_pct=drift_pct,
        notes=tuple(_notes(run, calibration, real.busy, drift_pct, weather_pct)),
        trace_sha256=seen.trace_sha256,
    )


def _weather_pct(
    calibration: Calibration, window: tuple[float, float], fitted: tuple[float, float]
) -> float:
    weather = calibration.weather
    if weather is None:
        return 0.0
    takes = [weather.takes(calibration.crowding, *part) for part in (window, fitted)]
    return 100.0 * (takes[0] / takes[1] - 1.0)


def _rows(real: _Side, twin: _Side, span_s: float) -> tuple[Row, ...]:
    rows = []
    for name, measured_s, predicted_s in (
        ("ttft_ms", real.ttft_s, twin.ttft_s),
        ("answer_ms", real.answer_s, twin.answer_s),
    ):
        for tail in (50, 95):
            pair = (_quantile_ms(measured_s, tail), _quantile_ms(predicted_s, tail))
            rows.append(Row(f"{name}_p{tail}", *pair))
    means = (_mean(real.busy), _mean(twin.busy))
    rows.append(Row("utilisation_mean", *means))
    rows += [Row(f"utilisation {site}", real.busy[site], twin.busy[site]) for site in real.busy]
    rows.append(Row("tokens_per_s", real.tokens / span_s, twin.tokens / span_s))
    answered = (float(len(real.answer_s)), float(len(twin.answer_s)))
    rows.append(Row("answered", *answered))
    rows += [Row(f"requests {s}", real.by_site[s], twin.by_site[s]) for s in real.by_site]
    return tuple(rows)


def _measured(run: RecordedRun, window: tuple[float, float]) -> _Side:
    inside = [r for r in run.requests if window[0] <= r.at_s <= window[1] and r.status == 200]
    return _Side(
        ttft_s=np.array([r.ttft_s for r in inside if r.stream]),
        answer_s=np.array([r.duration_s for r in inside]),
        tokens=float(sum(_tokens(run, request) for request in inside)),
        by_site=_count(run, [r.site for r in inside]),
        busy=measured_busy(run, window),
    )


def _predicted(run: RecordedRun, seen: Seen, window: tuple[float, float]) -> _Side:
    inside = [
        request
        for request in seen.requests
        if request.status == ANSWERED and window[0] <= request.born_s + seen.zero_s <= window[1]
    ]
    return _Side(
        ttft_s=np.array([r.first_s - r.born_s for r in inside if r.stream]),
        answer_s=np.array([r.ended_s - r.born_s for r in inside]),
        tokens=float(sum(r.tokens for r in inside)),
        by_site=_count(run, [r.site for r in inside]),
        busy=predicted_busy(seen, window),
    )


def measured_busy(run: RecordedRun, window: tuple[float, float]) -> dict[str, float]:
    """Busy part of a window, by site: work of its engines between the readings next to it."""
    return {planned.site.name: _busy(run, planned.site.name, window) for planned in run.sites}


def predicted_busy(seen: Seen, window: tuple[float, float]) -> dict[str, float]:
    """Likewise in the twin."""
    return {
        site: float(np.diff(np.interp(window, seen.busy_at_s, busy))[0]) / (window[1] - window[0])
        for site, busy in seen.busy_s.items()
    }


def missing_s(run: RecordedRun, seen: Seen, window: tuple[float, float]) -> float:
    """By how much the twin's median time to first token is too short; 0 without streams."""
    real, twin = _measured(run, window).ttft_s, _predicted(run, seen, window).ttft_s
    return float(np.median(real) - np.median(twin)) if len(real) and len(twin) else 0.0


def _tokens(run: RecordedRun, request: RequestRow) -> int:
    job = run.job_of(request)
    return job.tokens if job else 0


def _count(run: RecordedRun, sites: list[str]) -> dict[str, float]:
    return {p.site.name: float(sites.count(p.site.name)) for p in run.sites}


def _busy(run: RecordedRun, site: str, window: tuple[float, float]) -> float:
    total = 0.0
    for (where, _), rows in run.engines.items():
        if where == site and len(rows) > 1:
            at_s = np.array([row.at_s for row in rows])
            work_s = np.array([row.fill_s + row.decode_s for row in rows])
            total += float(np.diff(np.interp(window, at_s, work_s))[0])
    return total / (window[1] - window[0])


def _quantile_ms(times_s: Times, percent: int) -> float:
    return 1000.0 * float(np.percentile(times_s, percent)) if len(times_s) else 0.0


def _mean(busy: dict[str, float]) -> float:
    return sum(busy.values()) / len(busy)


def _told(calibration: Calibration, weather_pct: float) -> str:
    if calibration.weather is None:
        return "record while nothing else runs on it"
    return f"the weather tells of {weather_pct:+.0f}%"


def _notes(
    run: RecordedRun,
    calibration: Calibration,
    real_busy: dict[str, float],
    drift_pct: float,
    weather_pct: float,
) -> list[str]:
    notes = []
    if calibration.weather is None:
        notes.append("no weather of the machine was recorded: it is taken as in the first part")
    if abs(drift_pct) > DRIFT_NOTED_PCT:
        notes.append(
            f"for the same work the machine took {abs(drift_pct):.0f}% "
            f"{'longer' if drift_pct > 0.0 else 'less'} in the predicted part than in the first: "
            f"{_told(calibration, weather_pct)}"
        )
    if full := sorted(site for site, busy in real_busy.items() if busy >= FULL):
        notes.append(
            f"no time left at {', '.join(full)}: lines grow there, and small errors in speed are "
            "large ones in waiting"
        )
    if calibration.pooled:
        sites = ", ".join(calibration.pooled)
        notes.append(f"worked too little in the first part for a fit of their own: {sites}")
    if run.rejoined:
        sites = ", ".join(sorted(run.rejoined))
        notes.append(f"restarted, which the twin does not repeat: {sites}")
    if run.dropped:
        notes.append(f"{run.dropped} rows of the recording were dropped")
    if len(run.sites) > run.host_cores:
        notes.append(
            f"{len(run.sites)} sites shared {run.host_cores} cores: the fit holds what they cost "
            "one another in the first part"
        )
    return notes
