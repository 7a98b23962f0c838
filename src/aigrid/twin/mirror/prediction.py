"""Predict a recorded run: its topology and load through the twin, compared with what was measured.

The twin gets the topology, the dials, the radio of each site as its heartbeats told it, and of each
request when it came, from where, and how many tokens it had and got. Shares, routes, waiting and
times come from the real orchestrator and the calibrated engine, see `twin.mirror.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aigrid.core.errors import ConfigurationError
from aigrid.core.run_record import RequestRow
from aigrid.twin.gateway import OPEN, Request
from aigrid.twin.grid import TwinGrid
from aigrid.twin.mirror.calibration import Calibration, calibrate, scaled
from aigrid.twin.mirror.comparison import (
    Mirror,
    Seen,
    compare,
    measured_busy,
    missing_s,
    predicted_busy,
)
from aigrid.twin.mirror.machine import DrawnMachine, WeatheredMachine
from aigrid.twin.mirror.radio import RecordedRadio
from aigrid.twin.mirror.recorded import RecordedRun, read_run
from aigrid.twin.mirror.weather import Weather, weather_of
from aigrid.twin.rounds import Machine, RoundLine
from aigrid.twin.scenario import Deployment, Physics, Scenario, SimulatedPackage

FIT_FRACTION = 1.0 / 3.0
LEAD_S = 60.0
SETTLE_S = 30.0
SETTLE_ROUNDS = 3
LOOK_S = 0.25
REQUESTS_NEEDED = 30
QUEUE_LIMIT = 256
CLIENT_ERRORS = range(400, 500)
NOT_THE_CLIENTS = (429, 499)
VERSION = "recorded"


def predict(folder: Path, seed: int = 0) -> Mirror:
    """Predict the last two thirds of a recorded run, with speeds learnt from its first third.

    Where the recording holds the machine's weather, the twin's machine is driven by it, and the
    same prediction without it is set beside.

    Args:
        folder: that `aigrid up --record DIR` wrote.
        seed: of chance.

    Raises:
        ConfigurationError: the folder holds no recorded run, or one with too little in it.
    """
    run = read_run(folder)
    asked = [Asked.of(run, request) for request in run.requests if _counts(request)]
    _check(run, asked)
    begin_s, end_s = asked[0].row.at_s, asked[-1].row.at_s
    split_s = begin_s + FIT_FRACTION * (end_s - begin_s)
    fitted, window = (begin_s, split_s), (split_s, end_s)
    weather = weather_of(run, fitted)
    calibration, seen = _foretold(run, asked, fitted, seed, weather)
    blind = _foretold(run, asked, fitted, seed, None)[1] if weather else None
    return compare(run, calibration, seen, window, fitted, seed, blind)


def _check(run: RecordedRun, asked: list[Asked]) -> None:
    if len(asked) < REQUESTS_NEEDED:
        raise ConfigurationError(
            f"{run.folder}: {len(asked)} requests were recorded",
            next_step=f"send at least {REQUESTS_NEEDED} while the grid runs with --record",
        )
    missing = {one.row.service for one in asked} - set(run.services)
    if missing or not set(run.joined_s) >= {planned.site.name for planned in run.sites}:
        raise ConfigurationError(
            f"{run.folder}: the beginning is missing: joins of sites, or the deployment of "
            f"{', '.join(sorted(missing)) or 'services'}",
            next_step="give a whole recording; its oldest files may have been rotated away",
        )


def _foretold(
    run: RecordedRun,
    asked: list[Asked],
    fitted: tuple[float, float],
    seed: int,
    weather: Weather | None,
) -> tuple[Calibration, Seen]:
    """What was learnt, and a twin's run with it."""
    calibration = _settled(run, asked, fitted, seed, weather)
    replay = _Replay(run, calibration, asked, seed)
    replay.play(asked[-1].row.at_s)
    return calibration, replay.seen()


def _settled(
    run: RecordedRun,
    asked: list[Asked],
    fitted: tuple[float, float],
    seed: int,
    weather: Weather | None,
) -> Calibration:
    """Speeds with which the twin is as busy as the grid was, both in the first part.

    The fit looks at a quarter of a second at once, the twin at every round: who works when others
    do is not quite the same, and is evened out here. So is the time that threads take to wake: the
    twin's have none, and the medians of the first part tell how much is missing.
    """
    calibration = calibrate(run, *fitted, weather)
    first = [one for one in asked if one.row.at_s <= fitted[1]]
    for _ in range(SETTLE_ROUNDS):
        replay = _Replay(run, calibration, first, seed)
        replay.play(fitted[1])
        real, twin = measured_busy(run, fitted), predicted_busy(replay.seen(), fitted)
        everyone = sum(real.values()) / max(sum(twin.values()), 1e-9)
        factors = {
            site: everyone if site in calibration.pooled else real[site] / max(twin[site], 1e-9)
            for site in real
        }
        calibration = scaled(
            calibration,
            {site: min(max(factor, 0.5), 2.0) for site, factor in factors.items()},
            calibration.wake_s + missing_s(run, replay.seen(), fitted),
        )
    return calibration


def _counts(request: RequestRow) -> bool:
    """Requests that were wrong in themselves were no load."""
    return request.status not in CLIENT_ERRORS or request.status in NOT_THE_CLIENTS


@dataclass(frozen=True, slots=True)
class Asked:
    """A recorded request with its token counts."""

    row: RequestRow
    prompt_tokens: int
    tokens: int

    @classmethod
    def of(cls, run: RecordedRun, row: RequestRow) -> Asked:
        """Token counts from the job that answered it; unanswered ones count as one token."""
        job = run.job_of(row)
        prompt, tokens = (job.prompt_tokens, job.tokens) if job else (1, 1)
        return cls(row, max(1, prompt), max(1, tokens))


class _Replay:
    """A twin of the recorded grid, fed with the recorded load; 0 is when the last site joined.

    Before a long silence at the start, the twin begins `LEAD_S` before the first request.
    """

    def __init__(
        self, run: RecordedRun, calibration: Calibration, asked: list[Asked], seed: int
    ) -> None:
        self._run, self._asked = run, asked
        joined_s = max(run.joined_s[planned.site.name] for planned in run.sites)
        self._zero_s = max(joined_s, asked[0].row.at_s - LEAD_S)
        self._grid = TwinGrid(_scenario(run, calibration), seed, run.policy)
        self._busy: list[tuple[float, dict[str, float]]] = []
        ways, machine = np.random.SeedSequence(seed).spawn(2)
        rng = np.random.default_rng(ways)
        self._machine = self._machine_of(calibration, np.random.default_rng(machine))
        gateway = self._grid.world.gateway
        gateway.there_s = lambda: float(rng.choice(calibration.there_s))
        back_s = calibration.back_s + calibration.wake_s
        gateway.back_s = lambda: float(rng.choice(back_s))
        self._set_up()

    def _machine_of(self, calibration: Calibration, rng: np.random.Generator) -> Machine:
        if calibration.weather is None:
            return DrawnMachine(calibration.slowness, rng)
        until_s = self._asked[-1].row.at_s + SETTLE_S
        return WeatheredMachine(
            calibration.weather, calibration.crowding, self._zero_s, until_s, rng
        )

    def _set_up(self) -> None:
        world = self._grid.world
        for site in world.sites.values():
            assert isinstance(site.line, RoundLine)
            site.line.machine = self._machine
        for name, site in world.sites.items():
            if site.radio is not None:
                site.radio = RecordedRadio(
                    site.planned, world.scenario.physics, self._run.beats[name], self._zero_s
                )
        for number, one in enumerate(self._asked):
            arrive = partial(self._arrive, number, one)
            world.simulation.after(max(0.0, one.row.at_s - self._zero_s), arrive)
        world.simulation.every(LOOK_S, self._look)

    def _arrive(self, number: int, one: Asked) -> None:
        world = self._grid.world
        request = Request(
            number=number,
            service=one.row.service,
            origin=one.row.origin,
            prompt_tokens=one.prompt_tokens,
            tokens=one.tokens,
            stream=one.row.stream,
            born_s=world.simulation.now_s,
        )
        world.requests.append(request)
        world.gateway.submit(request)

    def _look(self) -> None:
        lines = {name: site.line for name, site in self._grid.world.sites.items()}
        busy = {n: line.busy_s for n, line in lines.items() if isinstance(line, RoundLine)}
        self._busy.append((self._grid.now_s + self._zero_s, busy))

    def play(self, end_s: float) -> None:
        """Run to the end of the load, and on until every request has ended."""
        self._grid.advance(end_s - self._zero_s + LOOK_S)
        requests = self._grid.world.requests
        self._grid.advance_until(
            lambda: all(request.status != OPEN for request in requests), SETTLE_S
        )

    def seen(self) -> Seen:
        """What the twin saw."""
        return Seen(
            requests=tuple(self._grid.world.requests),
            zero_s=self._zero_s,
            busy_at_s=np.array([at_s for at_s, _ in self._busy]),
            busy_s={
                planned.site.name: np.array([busy[planned.site.name] for _, busy in self._busy])
                for planned in self._run.sites
            },
            trace_sha256=self._grid.trace_sha256(),
        )


def _scenario(run: RecordedRun, calibration: Calibration) -> Scenario:
    """The recorded grid as a scenario without demand: requests are replayed one by one."""
    packages = tuple(
        SimulatedPackage(
            name=wish.service,
            version=VERSION,
            memory_mb=wish.memory_mb,
            compute_cores=wish.compute_cores,
            regions=wish.regions,
        )
        for wish in run.services.values()
    )
    physics = Physics(
        link_mb_per_s=1e6,
        load_mb_per_s=1e6,
        places=calibration.places,
        queue_limit=QUEUE_LIMIT,
        hop_s=calibration.path_s / 2.0,
        engines=calibration.engines,
    )
    return Scenario(
        name="mirror",
        sites=run.sites,
        physics=physics,
        packages=packages,
        deployments=tuple(Deployment(deploy=package.reference) for package in packages),
    )
