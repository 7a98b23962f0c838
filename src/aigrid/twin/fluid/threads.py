"""A few threads for kernels without locks; what they find does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TypeVar

# Rows are cut in so many parts, whatever the number of threads.
PARTS = 8
# Fewer rows than this are not worth a thread.
SMALL = 512
Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """Runs tasks that write to rows or services of their own; `with` ends the threads.

    Args:
        workers: threads; 1 runs everything in the caller's.
    """

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def each(self, task: Callable[[Item], Result], over: Iterable[Item]) -> list[Result]:
        """Results in the order of `over`; the first error is raised."""
        if self._pool is None:
            return [task(item) for item in over]
        return list(self._pool.map(task, over))

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def parts(rows: slice) -> list[slice]:
    """Contiguous parts of rows; one where there are few."""
    size = rows.stop - rows.start
    if size < SMALL:
        return [rows]
    edges = [rows.start + size * part // PARTS for part in range(PARTS + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
