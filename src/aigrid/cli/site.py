"""`aigrid site`: sites of other machines."""

from __future__ import annotations

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show


@click.group()
def site() -> None:
    """Let sites of other machines join; run one."""


@site.command()
@click.argument("name")
@click.option(
    "--hours",
    type=click.FloatRange(0.0, 720.0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long the token stands.",
)
@grid_options
def invite(setup: Setup, name: str, hours: float) -> None:
    """Print a token by which site NAME joins this grid, once."""
    from aigrid.live.client import ControlClient

    invited = ControlClient(setup.data).invite(name, hours * 3600.0)
    lines = [
        invited["token"],
        "",
        f"It stands for {hours:g} h and for one use. On the other machine:",
        f"aigrid --data DIR site join TOKEN --name {name} --kind tower --region REGION"
        " --host ADDRESS",
    ]
    show(setup, invited, "\n".join(lines))


@site.command()
@click.argument("name")
@grid_options
def dismiss(setup: Setup, name: str) -> None:
    """Let the certificate of site NAME count no longer."""
    from aigrid.live.client import ControlClient

    show(setup, ControlClient(setup.data).dismiss(name), f"site {name} is dismissed")


@site.command()
@click.argument("token")
@click.option("--name", required=True, help="As the invitation says.")
@click.option("--kind", type=click.Choice(["factory", "hub", "tower"]), required=True)
@click.option("--region", required=True, help="The unit of residency rules.")
@click.option("--operator", default="own", show_default=True, help="Who runs it, for rules.")
@click.option("--host", required=True, help="Address under which gateways reach this machine.")
@click.option("--port", type=click.IntRange(1, 65535), default=8444, show_default=True)
@click.option(
    "--listen-port", type=click.IntRange(0, 65535), default=0, help="Behind a proxy or NAT."
)
@click.option("--parent", default="", help="The site above it; none for a root.")
@click.option("--latitude", "latitude_deg", type=float, default=0.0)
@click.option("--longitude", "longitude_deg", type=float, default=0.0)
@click.option("--cores", type=float, help="Cores for AI (default: all of this machine's).")
@click.option("--memory-mb", type=int, default=1024, show_default=True)
@grid_options
def join(
    setup: Setup,
    token: str,
    name: str,
    kind: str,
    region: str,
    operator: str,
    host: str,
    port: int,
    listen_port: int,
    parent: str,
    latitude_deg: float,
    longitude_deg: float,
    cores: float | None,
    memory_mb: int,
) -> None:
    """Join a grid on another machine: get a certificate for a site of this one.

    A site that joins so serves AI; the radio front-ends run with `aigrid up`.
    """
    import os

    from aigrid.core.site import Site
    from aigrid.live.wide import membership

    own = Site(
        name=name,
        kind=kind,
        region=region,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        compute_cores=cores or float(os.cpu_count() or 1),
        memory_mb=memory_mb,
        parent=parent,
        operator=operator,
    )
    joined = membership.join(token, setup.data, own, host, port, listen_port)
    told = {"site": name, "url": joined.url, "grid": joined.door, "fabric": joined.fabric}
    show(
        setup,
        told,
        f"site {name} belongs to the grid at {joined.door}\n"
        f"Next: aigrid --data {setup.data} site run",
    )


@site.command()
@click.option(
    "--otlp",
    metavar="URL",
    default="",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    help="Send traces to an OTLP/HTTP receiver, as http://HOST:4318.",
)
@grid_options
def run(setup: Setup, otlp: str) -> None:
    """Serve as the site that joined from this data directory, until Ctrl-C."""
    from aigrid.live import logs
    from aigrid.live.tracing import Telemetry
    from aigrid.live.wide.membership import Membership
    from aigrid.live.wide.remote_site import run_site

    joined = Membership.load(setup.data)
    logs.set_up(joined.site.name)
    note(f"site {joined.site.name} serves at {joined.url} for {joined.door}")
    run_site(joined, Telemetry(otlp, 1.0))
