"""Turns under overload: by weight and class, nobody hung, counters back to zero."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from aigrid.control.fair import Item
from aigrid.core.errors import OverloadedError
from aigrid.core.tenancy import Tenant
from aigrid.live.turnstile import Turnstile

HEAVY, LIGHT = Tenant("heavy"), Tenant("light")
HIGH, BATCH = Tenant("high", "high"), Tenant("batch", "batch")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def narrow(size: int, line: int = 100, wait_s: float = 5.0) -> Turnstile:
    return Turnstile("m", size, line, wait_s)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def is_idle(gate: Turnstile) -> bool:
    return gate.open == 0 and gate.queue.waiting == 0 and not gate._waiters


def test_flood_of_one_tenant_does_not_hold_up_another() -> None:
    async def work() -> None:
        gate, order = narrow(2), list[str]()

        async def ask(tenant: Tenant) -> None:
            item = await gate.enter(tenant, 10.0)
            order.append(tenant.name)
            await asyncio.sleep(0)
            gate.leave(item, 10.0)

        flood = [asyncio.create_task(ask(HEAVY)) for _ in range(40)]
        await settled()
        few = [asyncio.create_task(ask(LIGHT)) for _ in range(4)]
        await asyncio.gather(*flood, *few)
        done_at = max(place for place, name in enumerate(order) if name == "light")
        assert done_at < 26, order  # not behind the flood
        assert is_idle(gate)

    run(work())


def test_class_and_weight_share_what_there_is() -> None:
    async def work() -> None:
        gate, got = narrow(1, line=1000), Counter[str]()

        async def ask(tenant: Tenant) -> None:
            item = await gate.enter(tenant, 1.0)
            if sum(got.values()) < 105:
                got[tenant.name] += 1
            gate.leave(item, 1.0)

        first = await gate.enter(Tenant("first"), 1.0)
        tenants = (HIGH, LIGHT, BATCH)
        tasks = [asyncio.create_task(ask(t)) for t in tenants for _ in range(100)]
        await settled()
        gate.leave(first, 1.0)
        await asyncio.gather(*tasks)
        assert got == {"high": 80, "light": 20, "batch": 5}

    run(work())


def test_full_line_sheds_the_lowest_class_first() -> None:
    async def work() -> None:
        gate = narrow(1, line=2)
        first = await gate.enter(HIGH, 1.0)
        waiting = [asyncio.create_task(gate.enter(t, 1.0)) for t in (BATCH, LIGHT)]
        await settled()
        urgent = asyncio.create_task(gate.enter(HIGH, 1.0))
        await settled()
        with pytest.raises(OverloadedError, match="others go before"):
            await waiting[0]
        with pytest.raises(OverloadedError):
            await gate.enter(BATCH, 1.0)
        gate.leave(first, 1.0)
        gate.leave(await waiting[1], 1.0)
        gate.leave(await urgent, 1.0)
        assert is_idle(gate) and gate.shed == 2

    run(work())


def test_who_leaves_or_waits_too_long_is_out_of_the_line() -> None:
    async def work() -> None:
        gate = narrow(1, wait_s=0.05)
        first = await gate.enter(LIGHT, 1.0)
        gone = asyncio.create_task(gate.enter(LIGHT, 1.0))
        await settled()
        gone.cancel()
        with pytest.raises(OverloadedError, match="no turn within"):
            await gate.enter(LIGHT, 1.0)
        assert gone.cancelled() and gate.queue.waiting == 0
        gate.leave(first, 1.0)
        assert is_idle(gate)

    run(work())


def test_turn_given_to_somebody_who_just_left_is_passed_on() -> None:
    async def work() -> None:
        gate = narrow(1)
        first = await gate.enter(LIGHT, 1.0)
        gone = asyncio.create_task(gate.enter(LIGHT, 1.0))
        next_one = asyncio.create_task(gate.enter(HEAVY, 1.0))
        await settled()
        gate.leave(first, 1.0)  # the turn is given ...
        gone.cancel()  # ... in the same moment
        item: Item = await asyncio.wait_for(next_one, 1.0)
        gate.leave(item, 1.0)
        assert is_idle(gate)

    run(work())


def test_full_sites_narrow_the_window_and_answers_widen_it() -> None:
    async def work() -> None:
        now = [0.0]
        gate = Turnstile("m", 64, 100, 5.0, clock_s=lambda: now[0])
        items = [await gate.enter(LIGHT, 1.0) for _ in range(20)]

        async def once_more(item: Item) -> None:
            await gate.again(item, 0.0, 5.0)
            gate.leave(item, 1.0)

        back = [asyncio.create_task(once_more(item)) for item in items[4:]]
        await settled()
        assert (gate.open, gate.window.size, gate.queue.waiting) == (4, 4.0, 16)
        other = asyncio.create_task(gate.enter(HEAVY, 1.0))
        await settled()
        for item in items[:2]:
            gate.leave(item, 1.0)
        await settled()
        assert other.done()  # who comes now is not behind those that tried in vain
        now[0] = 100.0
        for item in (*items[2:4], other.result()):
            gate.leave(item, 1.0)
        await asyncio.gather(*back)
        assert gate.window.size > 15.0 and is_idle(gate)

    run(work())
