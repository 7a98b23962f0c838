"""Progress of long work: bars with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aigrid.cli.output import console, note
from aigrid.factory.progress import Fact, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY_S = 10.0


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A `Progress` that draws on stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    with _rich_progress() as drawn:
        bars = Bars(drawn)
        yield bars
        bars.finish()


def _rich_progress() -> RichProgress:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description:<11}"),
        progress.BarColumn(bar_width=30),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("[dim]{task.fields[facts]}"),
        console=console(stderr=True),
    )


class Bars:
    """One rich bar a stage."""

    def __init__(self, drawn: RichProgress) -> None:
        self._drawn = drawn
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """A new bar; the one before it is full."""
        self.finish()
        self._task = self._drawn.add_task(name, total=total or None, facts="")

    def advance(self, n: int = 1, **facts: Fact) -> None:
        """Move the bar."""
        if self._task is None:
            return
        self._drawn.update(self._task, advance=n)
        if facts:
            self._drawn.update(self._task, facts=spelt(facts))

    def finish(self) -> None:
        """Fill the last bar."""
        if self._task is not None:
            task = self._drawn.tasks[self._task]
            self._drawn.update(self._task, total=task.completed or 1, completed=task.completed or 1)


class Lines:
    """A line when a stage begins, and one every ten seconds, for logs and pipes.

    Time left is reckoned from the first step on: before it, work makes itself ready.
    """

    def __init__(self) -> None:
        self._name, self._total, self._done, self._first = "", 0, 0, 0
        self._began_s = self._told_s = 0.0

    def stage(self, name: str, total: int) -> None:
        """Say so."""
        self._name, self._total, self._done, self._first = name, total, 0, 0
        self._told_s = time.monotonic()
        note(name)

    def advance(self, n: int = 1, **facts: Fact) -> None:
        """Say so now and then."""
        self._done += n
        now_s = time.monotonic()
        if not self._first:
            self._first, self._began_s = self._done, now_s
        if now_s - self._told_s < LINE_EVERY_S or not self._total:
            return
        self._told_s = now_s
        percent, steps, left = 100 * self._done // self._total, self._done - self._first, ""
        if steps:
            left_s = (now_s - self._began_s) / steps * (self._total - self._done)
            left = f", {left_s:.0f} s left"
        note(f"{self._name} {percent}%{left} {spelt(facts)}".rstrip())


def spelt(facts: dict[str, Any]) -> str:
    """Facts as `loss 3.2, tokens 1,024`."""
    return ", ".join(f"{name} {_value(value)}" for name, value in facts.items())


def _value(value: Fact) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
