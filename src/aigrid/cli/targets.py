"""`aigrid targets`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import click

from aigrid.cli.options import Setup, grid_options


@click.command()
@grid_options
def targets(setup: Setup) -> None:
    """Print where Prometheus finds this grid: its processes, for `file_sd_configs`."""
    from aigrid.live.client import ControlClient

    client = ControlClient(setup.data)
    found = [
        _target("aigrid-gateway", "gateway", client.base_url),
        _target("aigrid-control", "control", client.grid()["control_url"]),
    ]
    found += [_target("aigrid-site", s["name"], s["url"]) for s in client.sites() if s["url"]]
    click.echo(json.dumps(found, indent=1))


def _target(job: str, instance: str, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    labels = {"job": job, "instance": instance, "__scheme__": parts.scheme}
    return {"targets": [parts.netloc], "labels": labels}
