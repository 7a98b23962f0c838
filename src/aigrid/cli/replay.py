"""`aigrid replay`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import IntegrityError, NotFoundError


@click.command()
@click.argument("file", type=Path, required=False)
@grid_options
def replay(setup: Setup, file: Path | None) -> None:
    """Feed a recording to the twin and compare its decisions with the recorded ones.

    Without FILE it is the grid's newest one; grids record into DATA/records.
    """
    from aigrid.live.paths import GridPaths
    from aigrid.twin.replay import replay as replay_recording

    file = file or _newest(GridPaths(setup.data).records)
    result = replay_recording(file)
    if result.cut_short:
        note(f"line {result.cut_short} was cut short by a crash and left out")
    if not result.identical:
        raise IntegrityError(
            f"{file} decides differently: {result.first_difference}",
            next_step=f"it was recorded by commit {result.commit or 'unknown'}; replay it there",
        )
    show(
        setup,
        {"file": str(file)} | asdict(result),
        f"{file}\n{result.events} events, {result.commands} commands: decisions are identical\n"
        f"sha256 {result.decisions_sha256}",
    )


def _newest(records: Path) -> Path:
    """The recording that was begun last; its name holds the time."""
    found = sorted(records.glob("events-*.jsonl"))
    if not found:
        raise NotFoundError(
            f"no recordings in {records}", next_step="name a FILE, or the grid's --data DIR"
        )
    return found[-1]
