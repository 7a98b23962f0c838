"""Entry of the `aigrid` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from aigrid.cli.lazy import LazyCommand, LazyGroup
from aigrid.cli.options import Setup, data_option, json_option

STDOUT = 1
EXIT_PIPE = 1  # as click ends when its reader is gone
COMMANDS = {
    "up": LazyCommand("aigrid.cli.up", "up", "Start a grid on this machine."),
    "down": LazyCommand("aigrid.cli.up", "down", "Stop the grid."),
    "status": LazyCommand(
        "aigrid.cli.status", "status", "Show what runs where: radio, requests, tokens."
    ),
    "env": LazyCommand("aigrid.cli.env", "env", "Print the shell lines that OpenAI clients need."),
    "chat": LazyCommand("aigrid.cli.chat", "chat", "Talk to a model."),
    "factory": LazyCommand("aigrid.cli.factory", "factory", "Make models from text."),
    "store": LazyCommand("aigrid.cli.store", "store", "Publish, list, verify and pull packages."),
    "deploy": LazyCommand("aigrid.cli.services", "deploy", "Serve a package."),
    "rollout": LazyCommand(
        "aigrid.cli.rollout", "rollout", "Show new versions on trial; end a trial by hand."
    ),
    "undeploy": LazyCommand("aigrid.cli.services", "undeploy", "Stop serving a service."),
    "sites": LazyCommand("aigrid.cli.status", "sites", "List the sites."),
    "cordon": LazyCommand("aigrid.cli.holding", "cordon", "Let nothing new come to a site."),
    "uncordon": LazyCommand("aigrid.cli.holding", "uncordon", "Let a cordoned or drained site go."),
    "drain": LazyCommand("aigrid.cli.holding", "drain", "Serve elsewhere what a site serves."),
    "site": LazyCommand("aigrid.cli.site", "site", "Let sites of other machines join; run one."),
    "fabric": LazyCommand(
        "aigrid.cli.fabric", "fabric", "Write the configuration of a NATS server for this grid."
    ),
    "targets": LazyCommand(
        "aigrid.cli.targets", "targets", "Print where Prometheus finds this grid."
    ),
    "routes": LazyCommand("aigrid.cli.status", "routes", "Show the routing table in force."),
    "tenant": LazyCommand(
        "aigrid.cli.tenant", "tenant", "Say who may use the grid, how much, and where."
    ),
    "key": LazyCommand("aigrid.cli.key", "key", "Make, list, rotate and revoke keys."),
    "usage": LazyCommand("aigrid.cli.usage", "usage", "Show what was used in a month."),
    "invoice": LazyCommand("aigrid.cli.invoice", "invoice", "Show what a tenant owes for a month."),
    "grant": LazyCommand("aigrid.cli.grant", "grant", "Give free credits."),
    "audit": LazyCommand("aigrid.cli.audit", "audit", "Show and check what was done, and where."),
    "radio": LazyCommand("aigrid.cli.radio", "radio", "Rehearse radio load at a tower."),
    "rehearse": LazyCommand("aigrid.cli.rehearse", "rehearse", "Rehearse a day of a country."),
    "scenario": LazyCommand("aigrid.cli.scenario", "scenario", "Check scenarios of one's own."),
    "plan": LazyCommand(
        "aigrid.cli.plan", "plan", "Find the cheapest sites and accelerators that carry a demand."
    ),
    "chaos": LazyCommand("aigrid.cli.chaos", "chaos", "Strike a grid with faults."),
    "replay": LazyCommand("aigrid.cli.replay", "replay", "Feed a recording to the twin."),
    "version": LazyCommand("aigrid.cli.version", "version", "Show the version of aigrid."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@data_option
@json_option
@click.pass_context
def root(context: click.Context) -> None:
    """An AI grid: make intelligence, sell it, carry it over radio sites, put it to work."""
    context.ensure_object(Setup)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and answer its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    setup = Setup()
    try:
        code = root.main(given, prog_name="aigrid", standalone_mode=False, obj=setup)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return EXIT_PIPE
    except (SystemExit, GeneratorExit):
        raise
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except BaseException as error:
        from aigrid.cli.failure import report

        return report(error, setup, as_json=setup.as_json or "--json" in given)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    raise SystemExit(main())
