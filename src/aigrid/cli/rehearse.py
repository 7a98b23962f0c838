"""`aigrid rehearse`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import console, note
from aigrid.core.errors import ConfigurationError

if TYPE_CHECKING:
    from aigrid.app.rehearsing import Wish


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--policy", "policies", metavar="NAME", multiple=True, help="Policy to try; repeat for more."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of chance (default: 0).")
@click.option("--out", metavar="DIR", type=Path, help="Folder of the report.")
@click.option(
    "--requests",
    metavar="TRACE",
    help="Request by request: those of a trace (CSV, JSONL), or `synthetic` ones.",
)
@click.option("--service", metavar="NAME", help="That the trace asks for (default: the first).")
@click.option(
    "--rate",
    metavar="R",
    type=float,
    help="Requests a second of the trace, mean over a day (default: the scenario's demand).",
)
@click.option(
    "--swarm",
    metavar="N",
    type=click.IntRange(min=1, max=1_000_000),
    help="N random grids with faults, all rules checked; seeds S to S+N-1.",
)
@click.option("--from-live", metavar="DIR", type=Path, help="Predict a recorded grid, and compare.")
@click.option("--minutes", metavar="N", type=int, help="Simulate so many (default: a day).")
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads or processes (default: one a core).",
)
@json_options
def rehearse(
    setup: Setup,
    scenario: str | None,
    policies: tuple[str, ...],
    seed: int,
    out: Path | None,
    requests: str | None,
    service: str | None,
    rate: float | None,
    swarm: int | None,
    from_live: Path | None,
    minutes: int | None,
    workers: int | None,
) -> None:
    """Rehearse a day of a country: what AI its radio network can carry, under which policy.

    SCENARIO is a file, or the name of a scenario that comes with aigrid (default: japan).
    Prints a table, and writes a report that opens in any browser, offline.

    \b
    aigrid rehearse scenarios/japan.yaml --policy aigrid --policy nearest
    aigrid rehearse scenarios/region.yaml --requests trace.csv
    aigrid rehearse --from-live DIR     (what `aigrid up --record DIR` wrote)
    aigrid rehearse --swarm 100 --seed 1
    """  # noqa: D301 - click's mark for lines that stay as they are
    from aigrid.app import rehearsing

    own: dict[str, object] = {"SCENARIO": scenario, "--policy": policies, "--requests": requests}
    own |= {"--minutes": minutes, "--out": out, "--service": service, "--rate": rate}
    if swarm is not None:
        _check_alone(own | {"--from-live": from_live}, "--swarm")
        _swarm(setup, swarm, seed, workers)
        return
    if from_live is not None:
        _check_alone(own | {"--workers": workers}, "--from-live")
        _from_live(setup, from_live, seed)
        return
    wish = rehearsing.Wish(
        scenario or (rehearsing.DEFAULT if requests is None else rehearsing.REGION),
        policies,
        seed,
        minutes,
        requests,
        service,
        rate,
        workers,
        out,
    )
    _country(setup, wish)


def _check_alone(given: dict[str, object], alone: str) -> None:
    """A swarm and a recorded grid bring their own sites, load and policies."""
    for name, value in given.items():
        if value:
            raise ConfigurationError(
                f"{name} does not go with {alone}", next_step="leave one of the two out"
            )


def _country(setup: Setup, wish: Wish) -> None:
    from aigrid.app.rehearsing import rehearse as run
    from aigrid.cli.bars import progress_bars
    from aigrid.cli.rehearse_view import rehearsal_view
    from aigrid.cli.requests_view import requests_view
    from aigrid.twin.report.setting import promised_of

    with progress_bars() as progress:
        done = run(wish, progress)
    if setup.as_json:
        click.echo(json.dumps(done.told, indent=2, ensure_ascii=False))
        note(f"report {done.report}")
        return
    shown = console()
    shown.print(rehearsal_view(done.rehearsal, shown.width, promised_of(done.country)))
    if wish.requests is not None:
        shown.print(requests_view(done.rehearsal, shown.width))
    shown.print(f"\nreport  {done.report}", soft_wrap=True)


def _swarm(setup: Setup, grids: int, seed: int, workers: int | None) -> None:
    from aigrid.app.rehearsing import cores
    from aigrid.app.swarming import Swarm
    from aigrid.cli.bars import progress_bars
    from aigrid.cli.failure import EXIT_INTERRUPTED
    from aigrid.cli.swarm_view import swarm_view

    swarm = Swarm(grids, seed, workers or cores())
    with progress_bars() as progress:
        found = swarm.run(progress)
    if setup.as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        console().print(swarm_view(found))
    if swarm.interrupted or found.failures:
        click.get_current_context().exit(EXIT_INTERRUPTED if swarm.interrupted else 1)


def _from_live(setup: Setup, folder: Path, seed: int) -> None:
    from aigrid.cli.mirror_view import mirror_view
    from aigrid.twin.mirror.prediction import predict

    found = predict(folder, seed)
    if setup.as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    console().print(mirror_view(found))
