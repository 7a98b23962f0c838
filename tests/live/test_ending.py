"""Tasks end, also those that lose a cancellation."""

import asyncio

import pytest

from aigrid.live import ending
from aigrid.live.ending import ended


async def deaf(times: int) -> None:
    """Goes on where it was told to end, so many times."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "HEARD_WITHIN_S", 0.01)


def test_tasks_end_though_they_miss_a_cancellation_or_fail() -> None:
    async def fails() -> None:
        raise ValueError("not looked at")

    async def run() -> list[bool]:
        tasks = [asyncio.create_task(one) for one in (deaf(0), deaf(3), fails())]
        await asyncio.sleep(0)
        await ended(*tasks)
        return [task.done() for task in tasks]

    assert asyncio.run(run()) == [True, True, True]


def test_one_that_never_ends_is_named() -> None:
    async def run() -> None:
        task = asyncio.create_task(deaf(ending.TIMES), name="stubborn")
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="stubborn"):
            await ended(task)

    asyncio.run(run())
