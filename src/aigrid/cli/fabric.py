"""`aigrid fabric`."""

from __future__ import annotations

from pathlib import Path

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where nats.conf goes, with the server's certificate.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address it listens on.")
@click.option("--port", type=click.IntRange(1, 65535), default=4222, show_default=True)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/nats"),
    show_default=True,
    metavar="DIR",
    help="Where it keeps streams and accounts.",
)
@grid_options
def fabric(setup: Setup, out: Path, host: str, port: int, store: Path) -> None:
    """Write the configuration of a NATS server for this grid.

    It lets in this grid's processes and sites, each with rights of its own, and nobody else. Beyond
    loopback it shows a certificate of the grid's authority.
    """
    from aigrid.app.fabric import configure

    url = configure(setup.data, out, host, port, store)
    told = {"config": str(out / "nats.conf"), "url": url}
    show(
        setup,
        told,
        f"nats-server -c {out / 'nats.conf'}\naigrid up --fabric {url}",
    )
