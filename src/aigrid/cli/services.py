"""`aigrid deploy` and `aigrid undeploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.cli.rollout import canary_options, read_plan, roll_out
from aigrid.core.errors import ConfigurationError

OCI = "oci://"


@click.command()
@click.argument("package")
@click.option("--no-wait", is_flag=True, help="Return before a site serves it.")
@click.option(
    "--upstream", metavar="URL", help="Serve an OpenAI-compatible server under this name."
)
@click.option("--model", metavar="NAME", help="The model's name at the upstream server.")
@click.option("--key-file", metavar="FILE", type=Path, help="Holds the upstream server's key.")
@click.option(
    "--allow-private",
    is_flag=True,
    help="Grant the sites of this machine the upstream server's address, though it is not public.",
)
@click.option(
    "--kind",
    type=click.Choice(["chat", "embed"]),
    default="chat",
    show_default=True,
    help="What the model at the upstream server makes: text, or embeddings.",
)
@canary_options
@grid_options
def deploy(
    setup: Setup,
    package: str,
    no_wait: bool,
    upstream: str | None,
    model: str | None,
    key_file: Path | None,
    allow_private: bool,
    kind: str,
    **canary: float | None,
) -> None:
    """Serve a package.

    PACKAGE is NAME, NAME:VERSION or oci://host:port/name:tag. Returns when a site serves it.
    With --upstream, PACKAGE is the name to give to a model of another OpenAI-compatible server.

    With --canary, the new version is tried on a part of the requests, and promoted or rolled back
    by errors, times to first token and evaluation card. Returns when that is decided; exits with
    1 if it was rolled back.
    """
    from aigrid.app.upstream import grant, publish_upstream
    from aigrid.live.client import ControlClient
    from aigrid.live.paths import GridPaths

    client = ControlClient(setup.data)
    client.grid()
    if upstream is None and (model or key_file or allow_private or kind != "chat"):
        raise ConfigurationError(
            "--model, --key-file, --allow-private, --kind are for an upstream server",
            next_step="add --upstream URL",
        )
    reference = package
    if upstream is not None:
        paths = GridPaths(setup.data)
        grant(paths, upstream, key_file, private=allow_private)
        reference = publish_upstream(
            paths.store, package, upstream, model or package, key_file, kind
        )
    elif package.startswith(OCI):
        reference = _pull(setup, package)
    if (plan := read_plan(canary)) is not None:
        roll_out(setup, client, reference, plan, wait=not no_wait)
        return
    service = client.deploy(reference)
    if not no_wait:
        _wait(client, service)
    ending = "deployed" if no_wait else "served"
    show(setup, service, f"{service['name']}:{service['version']} is {ending}")


def _pull(setup: Setup, reference: str) -> str:
    import time

    from aigrid.live.paths import GridPaths
    from aigrid.store.store import Store

    return Store(GridPaths(setup.data).store).pull(reference, time.time()).ref


def _wait(client: Any, service: dict[str, Any]) -> None:
    from aigrid.app.serving import wait_until_served

    note(f"waiting until a site serves {service['name']}:{service['version']}")
    wait_until_served(client, [service["name"]])


@click.command()
@click.argument("name")
@grid_options
def undeploy(setup: Setup, name: str) -> None:
    """Stop serving a service; its package stays in the store."""
    from aigrid.live.client import ControlClient

    answer = ControlClient(setup.data).undeploy(name)
    show(setup, answer, f"{name} is no longer served")
