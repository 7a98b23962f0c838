"""`aigrid plan`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import console, note


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--demand", metavar="[SERVICE=]FACTOR", multiple=True, help="Scale demand; repeat for more."
)
@click.option(
    "--slo",
    metavar="SHARE|SERVICE:ttft=MS|SERVICE:tpot=MS",
    multiple=True,
    help="Share of requests in time (default: 0.95), or another promise; repeat for more.",
)
@click.option("--budget", metavar="USD", type=click.FloatRange(min=0.0), help="Capital at most.")
@click.option(
    "--device", "devices", metavar="NAME", multiple=True, help="May be bought; repeat for more."
)
@click.option(
    "--towers",
    type=click.Choice(["buy", "stand", "off"]),
    default="buy",
    show_default=True,
    help="Towers' computers that do AI too: to buy, there already, or none.",
)
@click.option(
    "--at", "kinds", metavar="KIND", multiple=True, help="Only at factory, hub or tower; repeat."
)
@click.option("--exact", "method", flag_value="exact", help="Solve exactly (HiGHS): small cases.")
@click.option("--fast", "method", flag_value="fast", help="Only the fast planner.")
@click.option(
    "--limit", "limit_s", metavar="S", type=click.FloatRange(min=0.1), default=60.0,
    help="Seconds for the exact solver (default: 60).",
)  # fmt: skip
@click.option(
    "--rehearse/--no-rehearse", "rehearse", default=None,
    help="Rehearse the plan's day (default: up to 5,000 sites).",
)  # fmt: skip
@click.option(
    "--rounds", metavar="N", type=click.IntRange(1, 20), default=8, show_default=True,
    help="Plan again so often at most while the rehearsal falls short.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of chance (default: 0).")
@click.option("--out", metavar="DIR", type=Path, help="Folder for plan.csv and plan.json.")
@json_options
def plan(
    setup: Setup,
    scenario: str | None,
    demand: tuple[str, ...],
    slo: tuple[str, ...],
    budget: float | None,
    devices: tuple[str, ...],
    towers: str,
    kinds: tuple[str, ...],
    method: str | None,
    limit_s: float,
    rehearse: bool | None,
    rounds: int,
    seed: int,
    out: Path | None,
) -> None:
    """Find the cheapest sites and accelerators that carry a demand, and what they would earn.

    SCENARIO is a file, or the name of a scenario that comes with aigrid (default: region). Its
    demand, promises, prices and places are planned for; devices at its hubs and factories are
    decided anew.

    \b
    aigrid plan region --demand 10 --slo voice:ttft=100 --budget 500000
    aigrid plan japan --fast --out plan
    """  # noqa: D301 - click's mark for lines that stay as they are
    from aigrid.app import planning
    from aigrid.cli.bars import progress_bars
    from aigrid.cli.plan_view import plan_view

    wish = planning.Wish(
        scenario or planning.DEFAULT, demand, slo, budget, devices, towers, kinds,
        method or "auto", rehearse, seed, limit_s, rounds, out,
    )  # fmt: skip
    with progress_bars() as progress:
        done = planning.plan(wish, progress)
    if setup.as_json:
        click.echo(json.dumps(done.told, indent=2, ensure_ascii=False))
        for path in done.files:
            note(f"wrote {path}")
        return
    shown = console()
    shown.print(plan_view(done))
    for path in done.files:
        shown.print(f"wrote  {path}", soft_wrap=True)
