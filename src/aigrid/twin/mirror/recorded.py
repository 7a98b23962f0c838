"""A recorded run as data: what `aigrid up --record DIR` wrote, read back and checked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.control import recording
from aigrid.control.policy import Policy
from aigrid.core import run_record
from aigrid.core.errors import ConfigurationError
from aigrid.core.events import Heartbeat, ServiceDeployed, SiteJoined
from aigrid.core.run_record import (
    DropRow,
    EngineRow,
    HostRow,
    JobRow,
    MachineRow,
    RequestRow,
    Row,
)
from aigrid.radio.topology import PlannedSite, read_sites

FILE_LIMIT_BYTES = 128 * 1024 * 1024
ROWS_LIMIT = 5_000_000
_RUN_KEYS = {"aigrid_run", "commit", "started_at_s", "monotonic_s", "host_cores", "sites"}


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat: when, and what it said of the radio."""

    at_s: float
    load: float
    need_cores: float
    slots_on_time: int
    slots_missed: int


@dataclass(slots=True)
class RecordedRun:
    """What was noted of a run; times in seconds on the host's monotonic clock.

    Attributes:
        folder: where it lies.
        commit: of the code that ran.
        host_cores: of the machine, which all sites share.
        sites: the topology.
        policy: dials of the control plane.
        services: deployed, by name: the last wish.
        joined_s: when each site joined first.
        rejoined: sites that joined more than once.
        beats: by site, in order.
        requests: in order of arrival.
        jobs: by (key, site), in order of their end.
        engines: by (site, service), in order.
        load_average: of the machine, once a second.
        machine: what it did, in order; empty in old recordings.
        dropped: rows that were not written.
        cut_short: files whose last line is not whole.
    """

    folder: Path
    commit: str
    host_cores: int
    sites: tuple[PlannedSite, ...]
    policy: Policy = field(default_factory=Policy)
    services: dict[str, ServiceDeployed] = field(default_factory=dict)
    joined_s: dict[str, float] = field(default_factory=dict)
    rejoined: set[str] = field(default_factory=set)
    beats: defaultdict[str, list[Beat]] = field(default_factory=lambda: defaultdict(list))
    requests: list[RequestRow] = field(default_factory=list)
    jobs: defaultdict[tuple[str, str], list[JobRow]] = field(
        default_factory=lambda: defaultdict(list)
    )
    engines: defaultdict[tuple[str, str], list[EngineRow]] = field(
        default_factory=lambda: defaultdict(list)
    )
    load_average: list[float] = field(default_factory=list)
    machine: list[MachineRow] = field(default_factory=list)
    dropped: int = 0
    cut_short: list[str] = field(default_factory=list)

    def job_of(self, request: RequestRow) -> JobRow | None:
        """The job that answered a request; None where its site noted none."""
        found = self.jobs.get((request.key, request.site), [])
        end_s = request.at_s + request.duration_s
        fitting = [job for job in found if request.at_s <= job.began_s <= end_s]
        return fitting[-1] if fitting else None


def read_run(folder: Path) -> RecordedRun:
    """Read a recorded run.

    Raises:
        ConfigurationError: the folder holds none, or something that is none of its rows.
    """
    run = _read_head(folder / run_record.RUN_FILE, folder)
    for path in sorted(folder.glob(f"{run_record.EVENTS}-*.jsonl")):
        _read_events(run, path)
    for path in sorted(folder.glob(f"{run_record.REQUESTS}-*.jsonl")):
        _read_rows(run, path, "")
    for path in sorted(folder.glob(f"{run_record.MACHINE}-*.jsonl")):
        _read_rows(run, path, "")
    for planned in run.sites:
        name = planned.site.name
        for path in sorted(folder.glob(f"{run_record.SITE}-{_literal(name)}-*.jsonl")):
            if path.stem.removeprefix(f"{run_record.SITE}-{name}-").isdigit():
                _read_rows(run, path, name)
    run.requests.sort(key=lambda request: request.at_s)
    return run


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _read_head(path: Path, folder: Path) -> RecordedRun:
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{folder} holds no recorded run: {error}",
            next_step="give the folder that `aigrid up --record DIR` wrote",
        ) from error
    if not isinstance(raw, dict) or raw.get("aigrid_run") != run_record.FORMAT:
        raise ConfigurationError(f"{path}: not a recorded run of format {run_record.FORMAT}")
    if odd := sorted(_RUN_KEYS ^ set(raw)):
        raise ConfigurationError(f"{path}: unknown or missing keys: {', '.join(odd)}")
    sites = read_sites(raw["sites"], str(path))
    return RecordedRun(folder, str(raw["commit"]), int(raw["host_cores"]), sites)


def _read_events(run: RecordedRun, path: Path) -> None:
    with path.open(encoding="utf-8") as lines:
        reader = recording.Reader(lines, str(path))
        run.policy = reader.head.policy
        for line in reader:
            _note_event(run, line.timed.now_s, line.timed.event)
        if reader.cut_short:
            run.cut_short.append(path.name)


def _note_event(run: RecordedRun, now_s: float, event: object) -> None:
    if isinstance(event, Heartbeat):
        beat = Beat(
            now_s,
            event.radio_load,
            event.radio_need_cores,
            event.slots_on_time,
            event.slots_missed,
        )
        run.beats[event.site].append(beat)
    elif isinstance(event, SiteJoined):
        name = event.site.name
        if name in run.joined_s:
            run.rejoined.add(name)
        run.joined_s.setdefault(name, now_s)
    elif isinstance(event, ServiceDeployed):
        run.services[event.service] = event


def _read_rows(run: RecordedRun, path: Path, site: str) -> None:
    for row in _rows(run, path):
        if isinstance(row, RequestRow):
            run.requests.append(row)
        elif isinstance(row, JobRow):
            run.jobs[row.key, site].append(row)
        elif isinstance(row, EngineRow):
            run.engines[site, row.service].append(row)
        elif isinstance(row, HostRow):
            run.load_average.append(row.load_average)
        elif isinstance(row, MachineRow):
            run.machine.append(row)
        elif isinstance(row, DropRow):
            run.dropped += row.rows


def _rows(run: RecordedRun, path: Path) -> Iterator[Row]:
    if path.stat().st_size > FILE_LIMIT_BYTES:
        raise ConfigurationError(f"{path} is over {FILE_LIMIT_BYTES} bytes")
    with path.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.endswith("\n"):
                run.cut_short.append(path.name)
                return
            if number > ROWS_LIMIT:
                raise ConfigurationError(f"{path} has over {ROWS_LIMIT} rows")
            yield run_record.decode(_json(text, f"{path}:{number}"), f"{path}:{number}")


def _json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{origin}: not JSON: {error}") from error
