"""A line before one thread: limits, pauses, and an end that everybody hears of."""

import asyncio
import time

import pytest
from tests.live.conftest import until

from aigrid.core.errors import OverloadedError, UnavailableError
from aigrid.engines.worker import Worker


class Counting(Worker[str]):
    """Works on one word a round; `fault` is said by what runs it."""

    def __init__(self, fault: str = "fault") -> None:
        super().__init__("counting", 1, 2)
        self.now: str | None = None
        self.fault, self.done, self.told = fault, list[str](), list[tuple[str, str]]()
        self._start()

    def join(self, word: str) -> None:
        self._enqueue(word)

    def leave(self, word: str) -> None:
        self._abandon(word)

    def _running(self) -> int:
        return int(self.now is not None)

    def _drop_abandoned(self) -> None:
        pass

    def _step(self) -> float:
        self.now = self._next()
        if self.now == self.fault:
            raise ValueError("no such operator")
        if self.now is not None:
            self.done.append(self.now)
        self.now = None
        return time.perf_counter()

    def _leave(self) -> list[str]:
        left, self.now = [self.now] if self.now is not None else [], None
        return left

    def _fail(self, left: list[str], ended: UnavailableError) -> None:
        self.told += [(word, ended.message) for word in left]


def test_a_closed_gate_holds_the_line_which_has_a_limit() -> None:
    engine = Counting()
    engine.set_gate(lambda: False)
    for word in ("one", "two", "three"):
        engine.join(word)
    with pytest.raises(OverloadedError, match="3 jobs are waiting"):
        engine.join("four")
    engine.leave("two")
    time.sleep(0.05)
    assert engine.done == []
    engine.set_gate(lambda: True)
    until(lambda: engine.done == ["one", "three"])
    asyncio.run(engine.close())


def test_what_the_runtime_raises_ends_every_job_and_says_why() -> None:
    engine = Counting()
    engine.set_share(0.0)
    engine.join("fault")
    engine.join("behind")
    engine.set_share(1.0)
    until(lambda: len(engine.told) == 2)
    assert [word for word, _ in engine.told] == ["fault", "behind"]
    assert all("ValueError: no such operator" in why for _, why in engine.told)
    with pytest.raises(UnavailableError, match="no such operator"):
        engine.join("late")
    asyncio.run(engine.close())


def test_who_waits_when_it_is_closed_hears_of_it() -> None:
    engine = Counting()
    engine.set_share(0.0)
    engine.join("one")
    asyncio.run(engine.close())
    assert engine.told == [("one", "the engine is closed")]
