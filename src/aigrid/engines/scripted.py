"""The engine's double: answers by a rule, with delays and failures on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from aigrid.core.errors import AigridError, OverloadedError, UnavailableError
from aigrid.engines.engine import Chunk, EngineLoad, Job, TokenLogprob

POLL_S = 0.001


def echo(job: Job) -> str:
    """The default rule: the last message or the prompt, said back."""
    if job.messages:
        return f"you said: {job.messages[-1].content}"
    return f"you said: {job.prompt}"


@dataclass(frozen=True, slots=True)
class Script:
    """How the double behaves.

    Attributes:
        answer: the whole answer to a job; it is cut at spaces into tokens.
        first_token_s: wait before the first token.
        token_s: wait before each later one.
        fail_with: raised instead of the token at `fail_at`.
        fail_at: which token (0 is the first) fails, where `fail_with` is given.
        queue_limit: jobs at once; one more is refused.
    """

    answer: Callable[[Job], str] = echo
    first_token_s: float = 0.0
    token_s: float = 0.0
    fail_with: AigridError | None = None
    fail_at: int = 0
    queue_limit: int = 256


class ScriptedEngine:
    """Implements `Engine` without a model; `script` may be replaced while it runs."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.share = 1.0
        self.may_step: Callable[[], bool] = lambda: True
        self.jobs: list[Job] = []
        self._running = self._tokens = self._prompt_tokens = 0
        self._closed = False

    async def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Stream the script's answer; see `Engine.generate`."""
        if self._closed:
            raise UnavailableError("the engine is closed")
        if self._running >= self.script.queue_limit:
            raise OverloadedError(f"{self._running} jobs are running, the limit")
        self.jobs.append(job)
        self._running += 1
        if job.times is not None:
            job.times.fill_ns = time.time_ns()
        try:
            async for chunk in self._tell(job):
                yield chunk
        finally:
            self._running -= 1

    async def _tell(self, job: Job) -> AsyncGenerator[Chunk, None]:
        script = self.script
        words = script.answer(job).split(" ")
        tokens = [words[0], *(f" {word}" for word in words[1:])]
        limit = min(len(tokens), job.sampling.max_tokens or len(tokens))
        prompt_tokens = _count_prompt(job)
        self._prompt_tokens += prompt_tokens
        ending = "stop" if limit == len(tokens) else "length"
        if len(job.delivered) >= limit:
            yield Chunk("", prompt_tokens, limit, ending)
        for place, token in enumerate(tokens[:limit]):
            if place < len(job.delivered):
                continue
            await asyncio.sleep(script.token_s if place else script.first_token_s)
            await self._turn()
            if script.fail_with is not None and place == script.fail_at:
                raise script.fail_with
            reason = ending if place == limit - 1 else None
            logprobs = (TokenLogprob(token, place, 0.0),) if job.sampling.logprobs else ()
            self._tokens += 1
            yield Chunk(token, prompt_tokens, place + 1, reason, logprobs, (place,))

    async def _turn(self) -> None:
        while self.share == 0 or not self.may_step():
            if self._closed:
                break
            await asyncio.sleep(POLL_S)
        if self._closed:
            raise UnavailableError("the engine is closed")

    def set_share(self, share: float) -> None:
        """See `Engine.set_share`; any share above 0 runs at full speed."""
        self.share = share

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """See `Engine.set_gate`."""
        self.may_step = may_step

    def load(self) -> EngineLoad:
        """Gauges and counters."""
        return EngineLoad(self._running, 0, self._tokens, self._prompt_tokens, len(self.jobs))

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError at their next token."""
        self._closed = True


def _count_prompt(job: Job) -> int:
    if isinstance(job.prompt, tuple):
        return len(job.prompt)
    text = job.prompt or " ".join(m.content for m in job.messages)
    return len(text.split())
