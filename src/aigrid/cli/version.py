"""`aigrid version`."""

from __future__ import annotations

import platform

import click

from aigrid.cli.options import Setup, json_options
from aigrid.cli.output import show


@click.command()
@json_options
def version(setup: Setup) -> None:
    """Show the version of aigrid."""
    from aigrid.app.origin import checkout_root, code_commit, code_version

    known = {
        "version": code_version(),
        "commit": code_commit(),
        "python": platform.python_version(),
        "data": str(setup.data),
    }
    commit = f", commit {known['commit'][:12]}" if checkout_root() else ""
    show(setup, known, f"aigrid {known['version']} (Python {known['python']}{commit})")
