"""`aigrid env`."""

from __future__ import annotations

import shlex

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import show


@click.command()
@grid_options
def env(setup: Setup) -> None:
    """Print the shell lines that OpenAI clients need: eval "$(aigrid env)"."""
    from aigrid.live.client import ControlClient

    client = ControlClient(setup.data)
    values = {"OPENAI_BASE_URL": client.base_url, "OPENAI_API_KEY": client.api_key}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    show(setup, values, "\n".join(lines))
