"""The heap of what is to happen: ordered by time, then by order of arrival."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class EventHeap(Generic[T]):
    """A priority queue whose order depends on nothing but times and the order of `push`.

    Items are never compared, so they need no order of their own.
    """

    def __init__(self) -> None:
        self._items: list[tuple[float, int, T]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, at_s: float, item: T) -> None:
        """Let `item` happen at `at_s`, after everything pushed earlier for the same time."""
        heapq.heappush(self._items, (at_s, self._pushed, item))
        self._pushed += 1

    def pop(self) -> tuple[float, T]:
        """Take the next item and its time.

        Raises:
            IndexError: nothing is left.
        """
        at_s, _, item = heapq.heappop(self._items)
        return at_s, item

    def next_s(self) -> float:
        """Time of the next item; infinity where nothing is left."""
        return self._items[0][0] if self._items else float("inf")
