"""`aigrid replay`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import note, show
from aigrid.core.errors import IntegrityError


@click.command()
@click.argument("file", type=Path)
@json_options
def replay(setup: Setup, file: Path) -> None:
    """Feed the recording FILE to the twin and compare its decisions with the recorded ones."""
    from aigrid.twin.replay import replay as replay_recording

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
        asdict(result),
        f"{result.events} events, {result.commands} commands: decisions are identical\n"
        f"sha256 {result.decisions_sha256}",
    )
