"""A few threads for kernels without locks; what they find does not depend on their number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

# Rows are cut in so many parts, whatever the number of threads.
PARTS = 8
# Fewer rows than this are not worth a thread.
SMALL = 4096
Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


class _Work(Generic[Item, Result]):
    """Items of one call; whoever is free takes the next.

    Args:
        task: to do with each.
        items: of the call.
        helpers: threads that will `help` beside the caller's.
    """

    def __init__(self, task: Callable[[Item], Result], items: list[Item], helpers: int) -> None:
        self._task, self._items, self._helpers = task, items, helpers
        # One step of a range's iterator is one step of the interpreter: nobody takes an item twice.
        self._next = iter(range(len(items)))
        self._results: dict[int, Result] = {}
        self._errors: dict[int, BaseException] = {}
        self._left = threading.Semaphore(0)

    def help(self) -> None:
        """Take items until there are none, or one failed."""
        for at in self._next:
            try:
                self._results[at] = self._task(self._items[at])
            except BaseException as error:  # the caller raises it, Ctrl-C too
                self._errors[at] = error
            if self._errors:
                return

    def leave(self) -> None:
        """A helper has nothing left to do."""
        self._left.release()

    def finish(self) -> list[Result]:
        """Wait for the helpers; the first error is raised."""
        for _ in range(self._helpers):
            self._left.acquire()
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[at] for at in range(len(self._items))]


class Threads:
    """Runs tasks that write to rows or services of their own; `with` ends the threads.

    A minute of a country calls this some fifteen times, so that a call must cost little: 45
    microseconds, where a pool of futures took 300.

    Args:
        workers: threads, with the caller's; 1 runs everything in the caller's.
    """

    def __init__(self, workers: int) -> None:
        self._calls: SimpleQueue[_Work[object, object] | None] = SimpleQueue()
        self._helpers = [
            threading.Thread(target=self._help, daemon=True) for _ in range(workers - 1)
        ]
        for helper in self._helpers:
            helper.start()

    def each(self, task: Callable[[Item], Result], over: Iterable[Item]) -> list[Result]:
        """Results in the order of `over`; the first error is raised."""
        items = list(over)
        helpers = min(len(self._helpers), len(items) - 1)
        if helpers < 1:
            return [task(item) for item in items]
        work = _Work(task, items, helpers)
        for _ in range(helpers):
            self._calls.put(work)  # type: ignore[arg-type]
        work.help()
        return work.finish()

    def together(
        self, tasks: Sequence[Callable[[], Result]], more: Sequence[Callable[[], Other]]
    ) -> tuple[list[Result], list[Other], float]:
        """Run two kinds of tasks at once, the first ones first.

        Returns:
            what they give, and the part of all threads' time that `more` took.
        """
        both: list[Callable[[], Any]] = [*tasks, *more]
        done = self.each(_timed, both)
        found, seconds = [one for one, _ in done], [s for _, s in done]
        part = sum(seconds[len(tasks) :]) / max(sum(seconds), 1e-9)
        return found[: len(tasks)], found[len(tasks) :], part

    def _help(self) -> None:
        while (work := self._calls.get()) is not None:
            work.help()
            work.leave()

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self._helpers:
            self._calls.put(None)
        for helper in self._helpers:
            helper.join()


def _timed(task: Callable[[], Result]) -> tuple[Result, float]:
    """What it gives, and seconds that it took."""
    began = time.perf_counter()
    return task(), time.perf_counter() - began


def parts(rows: slice) -> list[slice]:
    """Contiguous parts of rows; one where there are few."""
    size = rows.stop - rows.start
    if size < SMALL:
        return [rows]
    edges = [rows.start + size * part // PARTS for part in range(PARTS + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
