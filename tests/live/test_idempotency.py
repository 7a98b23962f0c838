"""A request with an Idempotency-Key is executed once and answered as often as it is sent."""

import asyncio
import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.live.conftest import KEY, Rig, ask

from aigrid.core.errors import InvalidRequestError, OverloadedError
from aigrid.engines.scripted import Script
from aigrid.live.idempotency import Claim, Idempotency, Kept, KeyReusedError
from aigrid.live.limits import Limits

RigMaker = Callable[..., Rig]
ANSWER = Kept("application/json", "one", b'{"answer": 42}')


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def executed(keys: Idempotency, key: str, owner: str = "me", kept: Kept = ANSWER) -> Claim:
    claim = await keys.claim(owner, key, b"body", f"req-{key}-{owner}")
    if claim.kept is None:
        await keys.keep(claim, kept)
    return claim


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_answer_outlives_the_gateway_and_keeps_its_request_id(tmp_path: Path) -> None:
    async def work() -> None:
        first = Idempotency(tmp_path / "keys.sqlite")
        claim = await executed(first, "a")
        assert claim.kept is None
        await first.close()
        second = Idempotency(tmp_path / "keys.sqlite")
        again = await second.claim("me", "a", b"body", "req-new")
        assert again.kept == ANSWER and again.request_id == claim.request_id
        await second.close()
        assert (tmp_path / "keys.sqlite").stat().st_mode & 0o077 == 0

    run(work)


def test_what_was_under_way_is_executed_again_under_its_old_id(tmp_path: Path) -> None:
    async def work() -> None:
        first = Idempotency(tmp_path / "keys.sqlite")
        claim = await first.claim("me", "a", b"body", "req-1")
        await first.close()  # the gateway dies
        second = Idempotency(tmp_path / "keys.sqlite")
        again = await second.claim("me", "a", b"body", "req-2")
        assert again.kept is None and again.request_id == claim.request_id == "req-1"
        await second.close()

    run(work)


def test_key_counts_within_its_api_key_and_for_one_request_only(tmp_path: Path) -> None:
    async def work() -> None:
        keys = Idempotency(tmp_path / "keys.sqlite")
        await executed(keys, "a")
        assert (await executed(keys, "a", owner="you")).kept is None
        with pytest.raises(KeyReusedError, match="another request"):
            await keys.claim("me", "a", b"another body", "req-3")
        for key in ("", "x" * 256, "caf\u00e9", "a\nb"):
            with pytest.raises(InvalidRequestError, match="1 to 255"):
                await keys.claim("me", key, b"body", "req-4")
        await keys.close()

    run(work)


def test_duplicates_wait_for_the_first_and_the_next_goes_on_when_it_fails() -> None:
    async def work() -> None:
        keys = Idempotency(limits=Limits(kept_waiters=2))
        first = await keys.claim("me", "a", b"body", "req-1")
        waiting = [asyncio.create_task(keys.claim("me", "a", b"body", "req-2")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(KeyReusedError):
            await keys.claim("me", "a", b"another", "req-3")
        with pytest.raises(OverloadedError, match="2 requests wait"):
            await keys.claim("me", "a", b"body", "req-3")
        keys.release(first)
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == len(pending) == 1
        keys.release(first)  # again: the one whose turn it is now keeps it
        await asyncio.sleep(0)
        assert not pending.copy().pop().done()
        keys.release(done.pop().result())
        await asyncio.wait(pending)
        keys.release(pending.pop().result())
        assert not keys._turns and not keys._waiters
        await keys.close()

    run(work)


def test_old_and_many_answers_go_and_nobody_pushes_out_others(tmp_path: Path) -> None:
    async def work() -> None:
        clock = Clock()
        limits = Limits(kept_answers=10, kept_bytes=1000, kept_answer_bytes=200, kept_s=60.0)
        keys = Idempotency(tmp_path / "keys.sqlite", limits, clock)
        await executed(keys, "small")
        for number in range(40):
            clock.now_s += 0.1
            kept = Kept("application/json", "one", b"x" * 100)
            await executed(keys, f"key-{number}", owner="greedy", kept=kept)
        assert (await executed(keys, "small")).kept == ANSWER
        assert (await executed(keys, "key-39", owner="greedy")).kept is not None
        assert (await executed(keys, "key-0", owner="greedy")).kept is None
        await executed(keys, "long", kept=Kept("application/json", "one", b"x" * 201))
        assert (await executed(keys, "long")).kept is None
        clock.now_s += 130.0
        assert (await executed(keys, "small")).kept is None
        await keys.close()

    run(work)


def test_full_disk_costs_the_memory_of_answers_not_the_answers(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "file").write_text("no folder")
        keys = Idempotency(tmp_path / "file" / "keys.sqlite")
        assert (await executed(keys, "a")).kept is None
        assert (await executed(keys, "a")).kept is None
        await keys.close()

    run(work)


def send(rig: Rig, body: bytes, key: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(rig.gateway.url).netloc, timeout=10)
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("stream", [False, True])
def test_retries_and_duplicates_are_executed_once(rig: RigMaker, stream: bool) -> None:
    running = rig(keep=True, one=Script(first_token_s=0.1))
    body = ask("hi", stream=stream)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(running, body, "key-1"), range(8)))
    answers.append(send(running, body, "key-1"))
    assert {status for status, _, _ in answers} == {200}
    assert len({content for _, _, content in answers}) == 1
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 1
    assert sum("idempotent-replayed" in headers for _, headers, _ in answers) == 8
    assert running.gateway_state.forwarder.requests == 1
    assert send(running, ask("something else"), "key-1")[0] == 422
    assert send(running, body, "key-2")[0] == 200
    assert running.gateway_state.forwarder.requests == 2


def test_failures_are_not_kept(rig: RigMaker) -> None:
    running = rig(keep=True, one=Script(fail_with=InvalidRequestError("no")))
    assert send(running, ask(), "key-1")[0] == 400
    assert send(running, ask(), "key-1")[0] == 400
    assert running.gateway_state.forwarder.requests == 2
