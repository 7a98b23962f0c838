"""`aigrid up` and `aigrid down`."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import AigridError

if TYPE_CHECKING:
    from aigrid.app.detached import PipeReporter
    from aigrid.app.up import ReadyGrid
    from aigrid.live.settings import GridSettings

DATABASE = "AIGRID_DATABASE"
FIRST_RECIPE = "recipes/first-light.yaml"


@click.command()
@click.option("--detach", is_flag=True, help="Return when the grid is ready; it goes on.")
@click.option("--port", type=int, metavar="N", help="Where the endpoint answers (default: 8080).")
@click.option(
    "--sites", metavar="F,H,T", help="How many factories, hubs and towers (default: 1,1,2)."
)
@click.option("--topology", metavar="FILE", type=Path, help="A file that lists the sites instead.")
@click.option(
    "--recipe",
    default=FIRST_RECIPE,
    show_default=True,
    help="Makes the first model where the store is empty.",
)
@click.option(
    "--record",
    metavar="DIR",
    type=Path,
    help="Record the run, for `aigrid rehearse --from-live DIR`.",
)
@click.option(
    "--fabric",
    metavar="URL",
    help="Carry control traffic and packages over NATS JetStream, as nats://HOST:PORT.",
)
@click.option(
    "--database",
    metavar="URL",
    envvar=DATABASE,
    help="Keep accounts in PostgreSQL: postgresql://USER@HOST/NAME, or @FILE that holds the URL"
    " (default: $AIGRID_DATABASE, else SQLite).",
)
@click.option(
    "--advertise",
    metavar="ADDRESS",
    help="Let sites of other machines join, who reach this one under ADDRESS.",
)
@click.option("--door-port", type=int, help="Where they come in (default: 8443).")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What the processes write to their logs; debug: a line a request (default: info).",
)
@click.option(
    "--otlp",
    metavar="URL",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    help="Send traces to an OTLP/HTTP receiver, as http://HOST:4318.",
)
@click.option(
    "--otlp-sample",
    metavar="SHARE",
    type=float,
    help="Share of requests that are traced, 0 to 1 (default: 1).",
)
@click.option("--report-to", type=int, default=-1, hidden=True)
@grid_options
def up(
    setup: Setup,
    detach: bool,
    port: int | None,
    sites: str | None,
    topology: Path | None,
    recipe: str,
    record: Path | None,
    fabric: str | None,
    database: str | None,
    advertise: str | None,
    door_port: int | None,
    log_level: str | None,
    otlp: str | None,
    otlp_sample: float | None,
    report_to: int,
) -> None:
    """Start a grid on this machine: control plane, gateway, sites and their radios.

    The first start makes the first model. Ctrl-C stops every process.
    """
    from aigrid.app.bundled import find_bundled
    from aigrid.app.up import read_database, settings_of

    os.environ.pop(DATABASE, None)  # no process that is started here needs to know it

    found = find_bundled("scenarios", topology) if topology else None
    settings = settings_of(
        setup.data,
        port=port,
        sites=sites,
        topology=found,
        record=record,
        fabric=fabric,
        database=read_database(database),
        advertise=advertise,
        door_port=door_port,
        log_level=log_level,
        otlp=otlp,
        otlp_sample=otlp_sample,
    )
    settings.planned_sites()
    if report_to >= 0:
        _run_reported(settings, recipe, report_to)
    elif detach:
        _run_detached(setup, settings, recipe)
    else:
        _run_here(setup, settings, recipe)


def _run_here(setup: Setup, settings: GridSettings, recipe: str) -> None:
    from aigrid.app.signals import StopRequest
    from aigrid.app.up import run_grid
    from aigrid.cli.bars import progress_bars

    stop = StopRequest()
    with stop.listening(), ExitStack() as drawing:
        progress = drawing.enter_context(progress_bars())

        def ready(grid: ReadyGrid) -> None:
            drawing.close()
            _show_ready(setup, grid.to_dict(), "Ctrl-C stops it.")

        run_grid(settings, recipe, progress, ready, stop)
    note("stopped")


def _run_detached(setup: Setup, settings: GridSettings, recipe: str) -> None:
    from aigrid.app.detached import start_detached
    from aigrid.cli.bars import progress_bars

    arguments = ["--data", str(settings.data), "up", "--port", str(settings.port)]
    arguments += ["--sites", settings.sites, "--recipe", recipe]
    arguments += ["--log-level", settings.log_level]
    if settings.topology:
        arguments += ["--topology", str(settings.topology.absolute())]
    if settings.advertise:
        arguments += ["--advertise", settings.advertise, "--door-port", str(settings.door_port)]
    if settings.fabric:
        arguments += ["--fabric", settings.fabric]
    if settings.otlp:
        arguments += ["--otlp", settings.otlp, "--otlp-sample", str(settings.otlp_sample)]
    if settings.record:
        arguments += ["--record", str(settings.record.absolute())]
    with progress_bars() as progress:
        secrets = {DATABASE: settings.database.get_secret_value()}
        ready = start_detached(arguments, settings.paths, progress, secrets)
    _show_ready(setup, ready, f"`{_command('down', setup)}` stops it.")


def _run_reported(settings: GridSettings, recipe: str, descriptor: int) -> None:
    """The child of `--detach`: tell the parent how far we are, then run on alone."""
    from aigrid.app.detached import PipeReporter
    from aigrid.app.signals import StopRequest
    from aigrid.app.up import run_grid
    from aigrid.live import logs

    logs.set_up("up", settings.log_level, settings.paths.log("up"))
    reporter, stop = PipeReporter(descriptor), StopRequest()

    def ready(grid: ReadyGrid) -> None:
        reporter.tell("ready", grid.to_dict())
        reporter.close()

    try:
        with stop.listening():
            run_grid(settings, recipe, reporter, ready, stop)
    except AigridError as error:
        _report_error(reporter, error)
        raise


def _report_error(reporter: PipeReporter, error: AigridError) -> None:
    told = {"code": error.code, "message": error.message, "next_step": error.next_step}
    reporter.tell("error", told)
    reporter.close()


def _show_ready(setup: Setup, ready: dict[str, Any], ending: str) -> None:
    curl = curl_of(ready)
    after = ["status --watch"] if ready.get("kind") == "embed" else ["chat", "status --watch"]
    lines = [
        f"{ready['sites']} sites serve {ready['model']}, ready after {ready['seconds']} s",
        f"endpoint  {ready['base_url']}",
        f"key       {ready['api_key']}",
        f"console   {ready['console_url']}",
        "",
        curl,
        "",
        f"Next: {', '.join(_command(rest, setup) for rest in after)}. {ending}",
    ]
    show(setup, ready | {"curl": curl}, "\n".join(lines))


HELLO = {"role": "user", "content": "Hello"}


def curl_of(ready: dict[str, Any]) -> str:
    """A first request, of the kind that the grid's model answers."""
    model: dict[str, Any] = {"model": ready["model"]}
    if ready.get("kind") == "embed":
        path, body = "/embeddings", model | {"input": "Hello"}
    else:
        path, body = "/chat/completions", model | {"messages": [HELLO]}
    return (
        f"curl {shlex.quote(ready['base_url'] + path)}"
        f" -H {shlex.quote('Authorization: Bearer ' + ready['api_key'])}"
        f" -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    )


def _command(rest: str, setup: Setup) -> str:
    """A command line that reaches this very grid."""
    return (
        f"aigrid --data {shlex.quote(str(setup.data))} {rest}" if setup.chosen else f"aigrid {rest}"
    )


@click.command()
@grid_options
def down(setup: Setup) -> None:
    """Stop the grid and wait until every process is gone."""
    from aigrid.app.detached import stop_grid
    from aigrid.live.paths import GridPaths

    ended = stop_grid(GridPaths(setup.data))
    if ended["was_running"]:
        text = f"stopped the grid of process {ended['pid']} in {ended['seconds']} s"
    else:
        text = f"nothing to stop: process {ended['pid']} is gone; its stale record was removed"
    show(setup, ended, text)
