"""`aigrid chaos`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigrid.cli.options import Setup, json_options

if TYPE_CHECKING:
    from rich.table import Table

    from aigrid.app.chaos.suite import Verdict


@click.command()
@click.argument("suite", default="all")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--requests", type=click.IntRange(4, 4096), default=64, show_default=True)
@click.option("--model", type=Path, metavar="DIR", help="A model folder (default: a tiny one).")
@json_options
@click.pass_context
def chaos(
    context: click.Context, setup: Setup, suite: str, seed: int, requests: int, model: Path | None
) -> None:
    """Strike a grid with faults.

    A grid of its own, in a temporary folder, under load; every answer is checked.

    SUITE is small, sites, all, or one fault: kill-site, hang-site, slow-site, cut-off,
    kill-control, kill-fabric, kill-database, clock-jump, kill-gateway, disk-full,
    spoiled-package, drain, overload, churn, power-cut.
    """
    from aigrid.app.chaos.suite import Wish, run
    from aigrid.cli.bars import progress_bars
    from aigrid.cli.output import console

    with progress_bars() as progress:
        verdicts = run(Wish(suite, seed, requests, model), progress)
    passed = all(verdict.passed for verdict in verdicts)
    if setup.as_json:
        told = {"suite": suite, "seed": seed, "passed": passed}
        click.echo(json.dumps(told | {"faults": [v.to_dict() for v in verdicts]}, indent=2))
    else:
        console().print(_table(verdicts))
        for verdict in verdicts:
            for trouble in verdict.troubles:
                console().print(f"{verdict.fault}: {trouble}", markup=False, soft_wrap=True)
            if verdict.left_open:
                console().print(f"{verdict.fault}: still open: {verdict.left_open}", markup=False)
    context.exit(0 if passed else 1)


def _table(verdicts: list[Verdict]) -> Table:
    from rich.table import Table

    names = (
        "requests",
        "lost",
        "hung",
        "changed",
        "continued",
        "asked again",
        "refused",
        "misbilled",
        "slowest s",
        "back s",
    )
    table = Table("fault", *names, "", box=None)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for v in verdicts:
        figures = (v.requests, v.lost, v.hung, v.changed, v.continued, v.asked_again, v.refused)
        shown = [str(n) for n in (*figures, v.misbilled)] + [
            f"{v.slowest_s:.1f}",
            f"{v.recovered_s:.1f}",
        ]
        said = f"skipped: {v.skipped}" if v.skipped else "passed" if v.passed else "FAILED"
        table.add_row(v.fault, *([""] * 10 if v.skipped else shown), said)
    return table
