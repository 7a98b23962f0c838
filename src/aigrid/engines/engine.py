"""The one seam between a site and whatever runs a model.

A site turns an HTTP request into a `Job`, hands it to an `Engine`, and turns the `Chunk`s that come
back into an answer. `embedded` and `upstream` implement it; `scripted` is the double for tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from aigrid.engines.shape import CallDelta, Shape, ToolCall


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as in the OpenAI API.

    Attributes:
        role: who speaks; `tool` for what a function gave.
        content: text.
        tool_calls: that the assistant made.
        tool_call_id: the call that a tool answers.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; the names and meanings of the OpenAI API.

    Attributes:
        max_tokens: tokens to make at most; None for as many as the context holds.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        seed: the same seed, prompt and package give the same answer; None draws one.
        stop: the answer ends before the first of these strings.
        logprobs: report the log-probability of each chosen token.
        top_logprobs: and of this many likeliest alternatives, 0 to 20.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(slots=True)
class JobTimes:
    """When an engine did what for one job, Unix time; 0 where it did not, or cannot say.

    Attributes:
        fill_ns: it began to read the prompt: until then the job was in line.
        first_ns: it had the first token.
    """

    fill_ns: int = 0
    first_ns: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One generation: either `messages` (chat) or `prompt` (completion: text or token ids).

    Attributes:
        job_id: unique.
        sampling: how tokens are chosen.
        messages: of a chat.
        prompt: of a completion.
        delivered: tokens of this very answer that its reader has already, from an engine that
            died: the answer goes on behind them, as if nothing had happened. Greedy answers, and
            those with a seed, are the undisturbed ones. Limits and counts include them.
        shape: what the answer must look like; None where any text will do.
        times: where the engine notes them; None where nobody wants to know.
        traceparent: W3C trace context for servers that it asks; empty for none.
    """

    job_id: str
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    delivered: tuple[int, ...] = ()
    shape: Shape | None = None
    times: JobTimes | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token, its natural log-probability, and the likeliest alternatives."""

    token: str
    token_id: int
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of an answer.

    Attributes:
        text: new text; may be empty, and may hold several tokens.
        prompt_tokens: length of the prompt.
        completion_tokens: tokens made so far, this chunk included.
        finish_reason: None until the last chunk, then `stop`, `length` or `tool_calls`.
        logprobs: one entry per token of this chunk where they were asked for.
        tokens: ids of this chunk's tokens; what `Job.delivered` of a later job is made of. Empty
            from engines that cannot go on behind delivered tokens.
        calls: pieces of tool calls.
        choice: which of a request's answers; engines leave it at 0.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: tuple[int, ...] = ()
    calls: tuple[CallDelta, ...] = ()
    choice: int = 0


@dataclass(slots=True)
class EngineTimes:
    """Where an engine's time went since its start; zeros where it cannot say.

    A round feeds prompts, then takes a decode step. The engine goes on counting in it.

    Attributes:
        places: jobs that can take steps at once.
        fill_s: of rounds, spent on prompts.
        decode_s: of rounds, spent on decode steps and on sending what they made.
        paused_s: between rounds while there was work.
        rounds: that did something.
        pieces: of prompts.
        steps: decode steps.
        sequences: summed over decode steps.
        cpu_s: processor time of the thread that works; -1 where it cannot say.
    """

    places: int = 0
    fill_s: float = 0.0
    decode_s: float = 0.0
    paused_s: float = 0.0
    rounds: int = 0
    pieces: int = 0
    steps: int = 0
    sequences: int = 0
    cpu_s: float = -1.0


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine is doing: gauges of running and waiting jobs, counters since its start."""

    running: int
    waiting: int
    tokens_total: int
    prompt_tokens_total: int
    jobs_total: int
    times: EngineTimes = field(default_factory=EngineTimes)


class Engine(Protocol):
    """Runs one package."""

    def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Stream an answer; closing the iterator frees its place at once.

        Raises (on the first step of the iterator):
            InvalidRequestError: the prompt is longer than the context, or asks the impossible.
            OverloadedError: the waiting line is full.
            UnavailableError: the engine is closed or its upstream cannot be reached.
        """
        ...

    def set_share(self, share: float) -> None:
        """Use at most this fraction (0 to 1) of the compute; 0 pauses between steps."""
        ...

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """Ask `may_step` before each step; the engine waits while it answers False."""
        ...

    def load(self) -> EngineLoad:
        """Gauges and counters, read from any thread."""
        ...

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError."""
        ...
