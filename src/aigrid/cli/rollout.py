"""`aigrid deploy --canary` and `aigrid rollout`: new versions on trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from aigrid.live.client import ControlClient

LOOK_S = 0.5
AWAY_S = 60.0  # a control plane that restarts is waited for
ROLLED_BACK = 1
ENDED = ("promoted", "rolled_back")


class _Share(click.ParamType[float]):
    """`10%` or `0.1`."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """A fraction between 0 and 1."""
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100.0 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0.0 < share < 1.0:
            self.fail(f"{text!r} is no share: use 10% or 0.1", param, ctx)
        return share


_OPTIONS = (
    click.option(
        "--canary", metavar="SHARE", type=_Share(), help="Try it on this part of the requests: 10%."
    ),
    click.option("--min-requests", type=click.IntRange(1), help="Before promotion [100]."),
    click.option("--min-s", type=click.FloatRange(0.0), help="Before promotion [60]."),
    click.option("--limit-s", type=click.FloatRange(0.0, min_open=True), help="To decide [3600]."),
    click.option("--margin", type=click.FloatRange(0.0), help="Worse by this is no worse [0.1]."),
    click.option(
        "--significance",
        type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
        help="Risk that a good version is rolled back [0.02].",
    ),
)


def canary_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the dials of a rollout."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_plan(given: dict[str, float | None]) -> dict[str, float] | None:
    """The dials that were given; None where no version is to be tried.

    Raises:
        ConfigurationError: dials without `--canary`.
    """
    plan = {name: value for name, value in given.items() if value is not None}
    share = plan.pop("canary", None)
    if share is not None:
        return {"share": share, **plan}
    if plan:
        option = "--" + next(iter(plan)).replace("_", "-")
        raise ConfigurationError(f"{option} is for a trial", next_step="add --canary 10%")
    return None


def roll_out(
    setup: Setup, client: ControlClient, reference: str, plan: dict[str, float], *, wait: bool
) -> None:
    """Start a rollout, tell how it goes, and end with its outcome."""
    row = client.start_rollout(reference, plan)
    if wait:
        row = _follow(client, row["service"])
    show(setup, row, sentence(row))
    if row["phase"] == "rolled_back":
        click.get_current_context().exit(ROLLED_BACK)


def _follow(client: ControlClient, name: str) -> dict[str, Any]:
    """Print what changes until it is decided."""
    told, heard_s = "", time.monotonic()
    while True:
        try:
            row = client.rollout(name)
            heard_s = time.monotonic()
        except UnavailableError:
            if time.monotonic() - heard_s > AWAY_S:
                raise
            time.sleep(LOOK_S)
            continue
        if row["phase"] in ENDED:
            return row
        line = f"{row['phase']}: {row['reason']}"
        if line != told:
            told = line
            note(line)
        time.sleep(LOOK_S)


def sentence(row: dict[str, Any]) -> str:
    """How a rollout stands, or ended, and why."""
    name = f"{row['service']}:{row['version']}"
    if row["phase"] == "promoted":
        return f"{name} is promoted: {row['reason']}"
    if row["phase"] == "rolled_back":
        return f"{name} is rolled back to {row['old_version']}: {row['reason']}"
    share = 100.0 * row["plan"]["share"]
    return f"{name} is on trial with {share:g} % of the requests: {row['reason']}"


class _ShownByDefault(click.Group):
    """`aigrid rollout [NAME]` means `aigrid rollout show [NAME]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` in where no subcommand is named."""
        if not {*self.commands, "--help", "-h"} & set(args):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShownByDefault)
def rollout() -> None:
    """Show new versions on trial; end a trial by hand.

    `aigrid rollout [NAME]` shows the last one of each service, or of NAME alone.
    """


@rollout.command(name="show")
@click.argument("name", required=False)
@grid_options
def show_rollout(setup: Setup, name: str | None) -> None:
    """Show how rollouts stand, or stood at their end."""
    from aigrid.live.client import ControlClient

    client = ControlClient(setup.data)
    rows = client.rollouts() if name is None else [client.rollout(name)]
    text = "\n".join(line for row in rows for line in _lines(row))
    show(setup, rows if name is None else rows[0], text or "no version was tried yet")


def _lines(row: dict[str, Any]) -> list[str]:
    said = [sentence(row)]
    for which, version in (("new", row["version"]), ("old", row["old_version"])):
        if figures := row.get(which):
            said.append(f"  {which} {version}: {_figures(figures)}")
    return said


def _figures(figures: dict[str, Any]) -> str:
    said = f"{figures['errors']} errors of {figures['requests']} requests"
    if figures["ttft_p50_ms"] is not None:
        said += (
            f", first token {figures['ttft_p50_ms']:.0f} ms (95 %: {figures['ttft_p95_ms']:.0f} ms)"
        )
    if figures["card_bits_per_byte"] is not None:
        said += f", card {figures['card_bits_per_byte']:g} bits per byte"
    return said


@rollout.command()
@click.argument("name")
@grid_options
def promote(setup: Setup, name: str) -> None:
    """Serve the new version of NAME everywhere, now."""
    _steer(setup, name, "promote", "is promoted")


@rollout.command()
@click.argument("name")
@grid_options
def abort(setup: Setup, name: str) -> None:
    """Send no more requests to the new version of NAME, and drop it."""
    _steer(setup, name, "abort", "is rolled back")


def _steer(setup: Setup, name: str, verdict: str, ending: str) -> None:
    from aigrid.live.client import ControlClient

    row = ControlClient(setup.data).steer_rollout(name, verdict)
    show(setup, row, f"{name}:{row['version']} {ending}")
