"""Clients that know what the answer must be, and what they do when a connection breaks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

WORDS = ("red", "green", "blue", "amber", "tower", "hub", "factory", "harbour", "lamp", "night")
HUNG_S = 60.0
TRIES = 60
PAUSE_S = 0.25
REFUSED = (429, 503)


@dataclass(frozen=True, slots=True)
class Question:
    """A request whose answer is settled: greedy, or drawn from a seed.

    Attributes:
        body: of the chat completion.
    """

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as its client got it.

    Attributes:
        text: all of it.
        finish: why it ended.
        tokens: that the usage says.
        events: with text.
    """

    text: str
    finish: str
    tokens: int
    events: int = field(default=0, compare=False)


@dataclass(slots=True)
class Fate:
    """What became of one request.

    Attributes:
        told: the answer; None where there was none.
        refused: times that it was refused with 429 or 503.
        broken: connections that broke off.
        trouble: what was wrong with it; empty for nothing.
        seconds: until it was over.
    """

    told: Told | None = None
    refused: int = 0
    broken: int = 0
    trouble: str = ""
    seconds: float = 0.0


def questions(model: str, number: int, max_tokens: int, rng: np.random.Generator) -> list[Question]:
    """Requests of different lengths; every second one is drawn from a seed of its own."""
    made = []
    for index in range(number):
        words = " ".join(rng.choice(WORDS, size=int(rng.integers(3, 12))))
        drawn = {"temperature": 0.9, "seed": int(rng.integers(1 << 30))}
        body = {
            "model": model,
            "messages": [{"role": "user", "content": words}],
            "max_tokens": int(rng.integers(max_tokens // 2, max_tokens + 1)),
            "stream": True,
            "stream_options": {"include_usage": True},
        } | (drawn if index % 2 else {"temperature": 0})
        made.append(Question(body))
    return made


@dataclass(slots=True)
class Client:
    """Asks a gateway, and asks again with the same Idempotency-Key where the connection broke.

    Attributes:
        base_url: of the gateway.
        api_key: of the tenant.
        patient: ask again after 429 and 503 too, as `Retry-After` says.
    """

    base_url: str
    api_key: str
    patient: bool = True

    async def ask_all(
        self, asked: Sequence[Question], run: str, at_once: int, pause_s: float = 0.0
    ) -> list[Fate]:
        """Ask every question; answers in their order.

        Args:
            asked: the questions.
            run: makes idempotency keys of this run its own.
            at_once: connections open together.
            pause_s: between one start and the next.
        """
        gate = asyncio.Semaphore(at_once)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=HUNG_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

            async def one(index: int, question: Question) -> Fate:
                await asyncio.sleep(index * pause_s)
                async with gate:
                    return await self._ask(session, question, f"{run}-{index}")

            return await asyncio.gather(*(one(i, q) for i, q in enumerate(asked)))

    async def _ask(self, session: aiohttp.ClientSession, question: Question, key: str) -> Fate:
        fate, began_s = Fate(), time.monotonic()
        try:
            async with asyncio.timeout(HUNG_S):
                await self._until_told(session, question, key, fate)
        except TimeoutError:
            fate.trouble = f"hung: no end after {HUNG_S:g} s"
        fate.seconds = time.monotonic() - began_s
        return fate

    async def _until_told(
        self, session: aiohttp.ClientSession, question: Question, key: str, fate: Fate
    ) -> None:
        for _ in range(TRIES):
            try:
                wait_s = await self._once(session, question, key, fate)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                fate.broken += 1
                wait_s = PAUSE_S
            if wait_s <= 0.0:
                return
            await asyncio.sleep(wait_s)
        fate.trouble = fate.trouble or f"lost after {TRIES} tries"

    async def _once(
        self, session: aiohttp.ClientSession, question: Question, key: str, fate: Fate
    ) -> float:
        """One try; how long to wait before the next, 0 for none."""
        headers = {"authorization": f"Bearer {self.api_key}", "idempotency-key": key}
        url = f"{self.base_url}/chat/completions"
        async with session.post(url, json=question.body, headers=headers) as response:
            if response.status in REFUSED:
                return await self._refused(response, fate)
            if response.status != 200:
                fate.trouble = f"status {response.status}: {(await response.text())[:200]}"
                return 0.0
            told = read_stream(await response.read())
            if isinstance(told, str):
                fate.broken += 1
                fate.trouble = told
                return PAUSE_S
            fate.told, fate.trouble = told, ""
            return 0.0

    async def _refused(self, response: aiohttp.ClientResponse, fate: Fate) -> float:
        fate.refused += 1
        after = response.headers.get("retry-after", "")
        await response.read()
        if not after.isdigit():
            fate.trouble = f"status {response.status} without Retry-After"
            return 0.0
        if not self.patient:
            return 0.0
        return max(PAUSE_S, min(float(after), 2.0))


def read_stream(raw: bytes) -> Told | str:
    """The answer in a stream of events, or what is wrong with the stream."""
    if not raw.endswith(b"data: [DONE]\n\n"):
        return f"a stream without its end: {raw[-120:]!r}"
    text, finish, tokens, events, usages = "", "", -1, 0, 0
    for block in raw.split(b"\n\n"):
        if not block.startswith(b"data: ") or block == b"data: [DONE]":
            continue
        event = json.loads(block[6:])
        if "error" in event:
            return f"an error in mid-stream: {event['error'].get('message')}"
        for choice in event["choices"]:
            piece = choice["delta"].get("content") or ""
            text, events = text + piece, events + bool(piece)
            finish = choice["finish_reason"] or finish
        if event.get("usage"):
            tokens, usages = event["usage"]["completion_tokens"], usages + 1
    if usages != 1:
        return f"{usages} counts of usage in one stream"
    return Told(text, finish, tokens, events)
