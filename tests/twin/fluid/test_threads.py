"""Work shared by threads: results in order, the first error raised, threads that end."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from aigrid.twin.fluid.threads import PARTS, SMALL, Threads, parts


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_results_come_in_the_order_of_items(workers: int, count: int) -> None:
    with Threads(workers) as threads:
        for _ in range(20):
            assert threads.each(lambda n: n * n, range(count)) == [n * n for n in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_is_raised_and_the_threads_go_on(workers: int) -> None:
    def halve(n: int) -> int:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n // 2

    with Threads(workers) as threads:
        with pytest.raises(ValueError, match="is odd"):
            threads.each(halve, [0, 2, 5, 4, 7])
        assert threads.each(halve, [0, 2, 4]) == [0, 1, 2]


def test_several_threads_are_at_work_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20.0)
    with Threads(3) as threads:
        met = threads.each(lambda _: meeting.wait(), range(3))
    assert sorted(met) == [0, 1, 2]


def test_threads_end_with_the_block() -> None:
    before = threading.active_count()
    with Threads(4) as threads:
        threads.each(abs, range(9))
        assert threading.active_count() == before + 3
    assert threading.active_count() == before


def test_parts_cover_the_rows_whatever_their_number() -> None:
    assert parts(slice(5, 5 + SMALL - 1)) == [slice(5, 5 + SMALL - 1)]
    cut = parts(slice(7, 7 + 10 * SMALL))
    assert len(cut) == PARTS and cut[0].start == 7 and cut[-1].stop == 7 + 10 * SMALL
    assert all(a.stop == b.start for a, b in pairwise(cut))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_two_kinds_of_tasks_run_together_and_are_told_apart(workers: int) -> None:
    with Threads(workers) as threads:
        squares, names = [lambda at=at: at * at for at in range(5)], [lambda: "a", lambda: "b"]
        found, more, part = threads.together(squares, names)
        assert (found, more) == ([0, 1, 4, 9, 16], ["a", "b"]) and 0.0 <= part <= 1.0
        assert threads.together(names, []) == (["a", "b"], [], 0.0)
        assert threads.together([], []) == ([], [], 0.0)
