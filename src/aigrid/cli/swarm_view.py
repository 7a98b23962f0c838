"""A swarm for a terminal: what was tried, what went wrong, and how to repeat it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.status_view import duration, plain_table
from aigrid.twin.swarm.faults import KINDS
from aigrid.twin.swarm.outcome import Failure, SwarmResult

GOOD_STYLE, BAD_STYLE = "bold green", "bold red"
MOST_FAILURES = 10


def swarm_view(result: SwarmResult) -> RenderableType:
    """Headline, figures, faults by kind, and failures with the commands that repeat them."""
    shown = result.failures[:MOST_FAILURES]
    parts: list[RenderableType] = [_headline(result), "", _figures(result), "", _faults(result), ""]
    for failure in shown:
        parts += [_failure(failure), ""]
    if len(result.failures) > len(shown):
        parts += [Text(f"and {len(result.failures) - len(shown)} more; --json tells all"), ""]
    return Group(*parts, _verdict(result))


def _headline(result: SwarmResult) -> Text:
    last = result.seed + max(result.asked, 1) - 1
    simulated = sum(outcome.simulated_s for outcome in result.outcomes)
    return Text.assemble(
        ("swarm", "bold"),
        f"  {len(result.outcomes):,} grids, seeds {result.seed} to {last}, ",
        f"{duration(simulated)} simulated in {result.wall_s:.1f} s",
    )


def _figures(result: SwarmResult) -> Table:
    table = plain_table("figure", "number", right=("number",))
    names = ("sites", "events", "requests", "served", "refused", "broken", "retried")
    table.add_row("scenarios", f"{len(result.outcomes):,}")
    for name in names:
        table.add_row(name, f"{result.total(name):,}")
    table.add_row("in flight", f"{result.in_flight():,}")
    slowest = result.slowest()
    if slowest is not None and slowest.recovery_s is not None:
        table.add_row("slowest recovery", f"{slowest.recovery_s:.1f} s (seed {slowest.seed})")
    return table


def _faults(result: SwarmResult) -> Table:
    table = plain_table("fault", "times", "what it is", right=("times",))
    for kind, times in result.faults().items():
        table.add_row(kind, f"{times:,}", KINDS[kind])
    return table


def _failure(failure: Failure) -> Text:
    where = failure.site or "the whole grid"
    faults = "".join(f"\n  fault     {_fault(fault)}" for fault in failure.faults)
    fewest = f"\n  with {len(failure.faults)} of its {failure.faults_of} faults it still fails"
    return Text.assemble(
        ("broken  ", BAD_STYLE),
        (failure.rule, "bold"),
        f" at {failure.at_s:.2f} s, {where}",
        f"\n  expected  {failure.expected}\n  seen      {failure.seen}",
        fewest if failure.faults_of else "",
        faults,
        ("\n  repeat    ", "dim"),
        failure.command,
    )


def _fault(fault: dict[str, object]) -> str:
    rest = (f"{name} {value}" for name, value in fault.items() if name != "kind")
    return f"{fault['kind']}: {', '.join(rest)}"


def _verdict(result: SwarmResult) -> Text:
    tried, failed = len(result.outcomes), len(result.failures)
    cut = "" if tried == result.asked else f"; stopped after {tried:,} of {result.asked:,}"
    if failed:
        return Text.assemble(("not   ", BAD_STYLE), f"{failed:,} of {tried:,} broke a rule{cut}.")
    return Text.assemble(("kept  ", GOOD_STYLE), f"every rule, in {tried:,} grids{cut}.")
