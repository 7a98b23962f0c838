"""Recordings whose truth is known: the twin itself plays the live grid, with engines we chose."""

from __future__ import annotations

import json
from pathlib import Path

from aigrid.core import codec, run_record
from aigrid.core.run_record import EngineRow, HostRow, JobRow, MachineRow, RequestRow, Row
from aigrid.twin.gateway import ANSWERED, Request
from aigrid.twin.grid import TwinGrid
from aigrid.twin.rounds import RoundLine
from aigrid.twin.scenario import EngineRounds, Scenario, scenario_from_dict

CORES = 2
TRUTH = EngineRounds(piece_s=0.001, prompt_token_s=0.0001, step_s=0.002, sequence_s=0.001)
SITES = [
    {"name": "factory-1", "kind": "factory", "region": "r", "compute_cores": 2.0},
    {"name": "hub-1", "kind": "hub", "region": "r", "compute_cores": 1.5, "parent": "factory-1"},
    {
        "name": "tower-1",
        "kind": "tower",
        "region": "r",
        "parent": "hub-1",
        "cells": [{"name": "c"}],
        "profile": {"kind": "constant", "load": 0.3},
    },
]
KINDS = ((20, 10, "*", 4.0), (90, 40, "tower-1", 3.0), (40, 80, "hub-1", 2.0))


def busy_city(duration_s: float = 90.0) -> Scenario:
    """Three sites under a load that differs in lengths and origins."""
    demand = [
        {
            "service": "chat",
            "prompt_tokens": prompt,
            "tokens": tokens,
            "origin": origin,
            "requests_per_s": rate,
            "stream": prompt != KINDS[0][0],
            "from_s": 3.0,
        }
        for prompt, tokens, origin, rate in KINDS
    ]
    raw = {
        "name": "busy city",
        "sites": SITES,
        "duration_s": duration_s,
        "packages": [{"name": "chat", "version": "1"}],
        "deployments": [{"deploy": "chat:1"}],
        "demand": demand,
        "physics": {"hop_s": 0.002, "engines": {s["name"]: TRUTH for s in SITES}},
    }
    return scenario_from_dict(raw, "test", Path())


class Sky:
    """A machine of few cores on which others come to work at a known time.

    Work of w takes w * max(1, (engines + crowd) / CORES), as `WeatheredMachine` has it, but in the
    mean and not by chance.
    """

    def __init__(self, calm: float, storm: float, storm_at_s: float) -> None:
        self.calm, self.storm, self.storm_at_s = calm, storm, storm_at_s
        self.engines = self.worked_s = self.calm_busy_s = 0.0

    def crowd(self, now_s: float) -> float:
        return self.storm if now_s >= self.storm_at_s else self.calm

    def enter(self, part: float) -> None:
        self.engines += part

    def leave(self, part: float) -> None:
        self.engines -= part

    def lasts_s(self, now_s: float, work_s: float) -> float:
        self.worked_s += work_s
        return work_s * max(1.0, (max(1.0, self.engines) + self.crowd(now_s)) / CORES)

    def row(self, now_s: float) -> MachineRow:
        """In the calm others find a core whenever they want one, in the storm no core is idle."""
        if now_s < self.storm_at_s:
            self.calm_busy_s = busy_s = self.calm * now_s + self.worked_s
        else:
            busy_s = self.calm_busy_s + CORES * (now_s - self.storm_at_s)
        return MachineRow(now_s, busy_s, self.worked_s, 0.0, round(self.crowd(now_s)), 6e-5, 1e-4)


def record(folder: Path, scenario: Scenario, seed: int = 1, sky: Sky | None = None) -> TwinGrid:
    """Run a scenario and note what a live grid would have noted; with a sky also its weather."""
    lines: list[str] = []
    grid = TwinGrid(scenario, seed, write=lines.append, commit="c0ffee")
    rows: dict[str, list[Row]] = {site: [] for site in grid.world.sites}

    weather: list[Row] = []
    for site in grid.world.sites.values():
        assert isinstance(site.line, RoundLine)
        site.line.machine = sky

    def sample() -> None:
        if sky is not None:
            weather.append(sky.row(grid.now_s))
        for name, site in grid.world.sites.items():
            assert isinstance(site.line, RoundLine)
            rows[name] += _engine_rows(grid.now_s, site.share, site.line)

    grid.world.simulation.every(0.25, sample)
    grid.advance(scenario.duration_s)
    ended = [request for request in grid.world.ended if request.status == ANSWERED]
    for request in ended:
        rows[request.site].append(_job(request, scenario.physics.hop_s))
    folder.mkdir()
    sites = [
        codec.to_plain(p.site)
        | ({"profile": p.profile.model_dump(mode="json")} if p.profile else {})
        for p in scenario.sites
    ]
    head = {"aigrid_run": 1, "commit": "c0ffee", "started_at_s": 0.0, "monotonic_s": 0.0}
    (folder / "run.json").write_text(json.dumps(head | {"host_cores": CORES, "sites": sites}))
    (folder / "events-1.jsonl").write_text("".join(lines))
    _write(folder / "requests-1.jsonl", [HostRow(1.0, 0.5), *map(_request, ended)])
    for name, noted in rows.items():
        _write(folder / f"site-{name}-1.jsonl", noted)
    if weather:
        _write(folder / "machine-1.jsonl", weather)
    return grid


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(run_record.encode(row)) + "\n" for row in rows))


def _engine_rows(now_s: float, share: float, line: RoundLine) -> list[Row]:
    return [
        EngineRow(
            at_s=now_s,
            service=service,
            share=share,
            running=len(engine.running),
            waiting=len(engine.waiting),
            places=8,
            fill_s=engine.fill_s,
            decode_s=engine.decode_s,
            paused_s=(engine.fill_s + engine.decode_s) * (1 / share - 1) if share else 0.0,
            rounds=engine.counts.rounds,
            pieces=engine.counts.pieces,
            prompt_tokens=engine.counts.prompt_tokens,
            steps=engine.counts.steps,
            sequences=engine.counts.sequences,
            cpu_s=engine.cpu_s,
        )
        for service, engine in line.engines.items()
    ]


def _request(request: Request) -> RequestRow:
    return RequestRow(
        key=str(request.number),
        at_s=request.born_s,
        origin=request.origin,
        service=request.service,
        stream=request.stream,
        status=200,
        site=request.site,
        retries=request.retries,
        ttft_s=request.first_s - request.born_s if request.stream else -1.0,
        duration_s=request.ended_s - request.born_s,
    )


def _job(request: Request, hop_s: float) -> JobRow:
    return JobRow(
        key=str(request.number),
        service=request.service,
        prompt_tokens=request.prompt_tokens,
        tokens=request.tokens,
        began_s=request.born_s + hop_s,
        first_s=request.first_s - hop_s,
        ended_s=request.ended_s - hop_s,
    )
