"""`aigrid targets`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show


@click.command()
@click.option("--out", metavar="FILE", type=Path, help="Write them there, whole or not at all.")
@grid_options
def targets(setup: Setup, out: Path | None) -> None:
    """Print where Prometheus finds this grid: its processes, for `file_sd_configs`."""
    from aigrid.live.client import ControlClient
    from aigrid.live.paths import write_aside

    client = ControlClient(setup.data)
    found = [
        _target("aigrid-gateway", "gateway", client.base_url),
        _target("aigrid-control", "control", client.grid()["control_url"]),
    ]
    found += [_target("aigrid-site", s["name"], s["url"]) for s in client.sites() if s["url"]]
    text = json.dumps(found, indent=1)
    if out is None:
        click.echo(text)
        return
    write_aside(out, text.encode() + b"\n")
    show(setup, {"written": str(out), "targets": len(found)}, f"{len(found)} targets in {out}")


def _target(job: str, instance: str, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    labels = {"job": job, "instance": instance, "__scheme__": parts.scheme}
    return {"targets": [parts.netloc], "labels": labels}
