"""One job in flight: its prompt, what its slot holds, and the answer so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import AigridError
from aigrid.engines.calls import CallReader
from aigrid.engines.constraint import Constraint, ConstraintError
from aigrid.engines.engine import Chunk, Job, TokenLogprob
from aigrid.engines.mailbox import Mailbox
from aigrid.engines.sampling import choose, generator, log_softmax, top_tokens
from aigrid.engines.shape import CallDelta
from aigrid.engines.text import AnswerText, Vocabulary


class Sequence:
    """Touched by the worker's thread only, once it has left the waiting line.

    Attributes:
        prompt: its tokens.
        times: when what was done for it, where somebody wants to know.
        held: tokens that its slot holds.
        last: the token to feed next.
        box: where its chunks go.
        finish_reason: None while it runs.
        fault: why it could not be ended.
    """

    __slots__ = (
        "_calls", "_chance", "_constraint", "_delivered", "_deltas", "_eos", "_limit", "_logprobs",
        "_sampling", "_sent", "_silent", "_stop_reason", "_text", "_tokens", "_vocabulary",
        "answer", "box", "fault", "finish_reason", "held", "last", "made", "prompt", "times",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        prompt: list[int],
        limit: int,
        vocabulary: Vocabulary,
        eos: frozenset[int],
        box: Mailbox,
        *,
        constraint: Constraint | None = None,
        calls: CallReader | None = None,
    ) -> None:
        self.prompt = prompt
        self.box = box
        self.times = job.times
        self.held = 0
        self.last = -1
        self.made = 0
        self.finish_reason: str | None = None
        self.fault: AigridError | None = None
        self.answer = AnswerText(vocabulary, job.sampling.stop)
        self._sampling = job.sampling
        self._limit = limit
        self._vocabulary = vocabulary
        self._eos = eos
        self._chance = generator(job.sampling.seed)
        self._delivered = job.delivered
        self._constraint, self._calls = constraint, calls
        # who must call one function has not chosen to call (as the OpenAI API has it)
        named = job.shape is not None and job.shape.named
        self._stop_reason = "stop" if named else "tool_calls"
        self._sent = 0
        self._silent = True
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._deltas: list[CallDelta] = []

    @property
    def unsent(self) -> bool:
        """Whether tokens have been made since the last chunk."""
        return self.made > self._sent

    @property
    def urgent(self) -> bool:
        """Whether the reader should be woken at once: the first token, or the end."""
        return self._silent or self.finish_reason is not None

    def advance(self, logits: NDArray[np.floating[Any]], likeliest: int | None = None) -> None:
        """Choose the next token and add it to the answer.

        Args:
            logits: float32 [vocab].
            likeliest: their argmax where it is known already.
        """
        try:
            if self.made < len(self._delivered):
                self._repeat(self._delivered[self.made])
            else:
                self._add(self._choose(logits, likeliest), logits)
        except ConstraintError as error:
            self.fault, self.finish_reason = error, "fault"
            self._sent = self.made - 1

    def _choose(self, logits: NDArray[np.floating[Any]], likeliest: int | None) -> int:
        if self._constraint is not None:
            logits, likeliest = self._constraint.allowed(logits), None
        if self._sampling.temperature == 0 and likeliest is not None:
            return likeliest
        return choose(logits, self._sampling, self._chance)

    def _add(self, token: int, logits: NDArray[np.floating[Any]]) -> None:
        self._take(token)
        self._tokens.append(token)
        if token in self._eos:
            self._finish("stop")
            return
        if self._sampling.logprobs:
            self._logprobs.append(self._describe(token, logits))
        self._show(self.answer.push(token))
        if self.answer.stopped or self._complete:
            self._finish("stop")
        elif self.made >= self._limit:
            self._finish("length")

    def _take(self, token: int) -> None:
        self.last = token
        self.made += 1
        if self._constraint is not None:
            self._constraint.take(token)

    @property
    def _complete(self) -> bool:
        return self._constraint is not None and self._constraint.complete

    def _show(self, text: str) -> None:
        if self._calls is not None:
            text, deltas = self._calls.push(text)
            self._deltas += deltas
        if text:
            self._text.append(text)

    def take_chunk(self) -> Chunk:
        """Everything since the last chunk."""
        chunk = Chunk(
            "".join(self._text),
            len(self.prompt),
            self.made,
            self.finish_reason,
            tuple(self._logprobs),
            tuple(self._tokens),
            tuple(self._deltas),
        )
        self._deltas.clear()
        self._text.clear()
        self._logprobs.clear()
        self._tokens.clear()
        self._sent = self.made
        self._silent = False
        return chunk

    def _repeat(self, token: int) -> None:
        """Take a token that its reader has: no text, but every state as it was behind it.

        Fed one by one and not as a prompt: only then are the numbers, to the last bit, those of
        the answer that broke off.
        """
        self._take(token)
        if self._sampling.temperature > 0:
            self._chance.random()
        self._sent = self.made
        if token in self._eos:
            self._end_again("stop")
            return
        self._show(self.answer.push(token))
        self._text.clear()
        self._deltas.clear()
        if self.answer.stopped or self._complete:
            self._end_again("stop")
        elif self.made >= self._limit:
            self._end_again("length")

    def _end_again(self, reason: str) -> None:
        """All was delivered but the end: say it, without the text that was sent with the token."""
        self._finish(reason)
        self._text.clear()
        self._deltas.clear()
        self._sent = self.made - 1

    def _finish(self, reason: str) -> None:
        self._show(self.answer.finish())
        if self._calls is not None:
            self._text.append(self._calls.finish())
        self.finish_reason = "stop" if self.answer.stopped else reason
        if self.finish_reason == "stop" and self._calls is not None and self._calls.begun:
            self.finish_reason = self._stop_reason

    def _describe(self, token: int, logits: NDArray[np.floating[Any]]) -> TokenLogprob:
        logprobs = log_softmax(logits)
        spelling = self._vocabulary.spelling
        top = top_tokens(logprobs, self._sampling.top_logprobs)
        return TokenLogprob(
            spelling(token),
            token,
            float(logprobs[token]),
            tuple((spelling(other), logprob) for other, logprob in top),
        )
