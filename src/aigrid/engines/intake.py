"""From a job to a sequence: its prompt's tokens, its limits, its grammar."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Ids

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.calls import CallReader
from aigrid.engines.chat import ChatTemplate
from aigrid.engines.constraint import Constraint, Grammars, grammar_of
from aigrid.engines.engine import Job
from aigrid.engines.mailbox import Mailbox
from aigrid.engines.sequence import Sequence
from aigrid.engines.shape import Shape
from aigrid.engines.text import Vocabulary


class Intake:
    """Reads jobs for one package.

    Args:
        vocabulary: of the package.
        template: of its chats.
        grammars: compiles what answers must look like.
        eos: ids that end an answer.
        context_tokens: of prompt and answer.
        vocab_size: ids that the model knows.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        grammars: Grammars,
        eos: frozenset[int],
        context_tokens: int,
        vocab_size: int,
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._grammars = grammars
        self._eos = eos
        self._context_tokens = context_tokens
        self._vocab_size = vocab_size

    async def sequence(self, job: Job) -> Sequence:
        """The job, ready to wait for its turn.

        Raises:
            InvalidRequestError: it cannot be.
            OverloadedError: too many schemas wait to be compiled.
        """
        prompt = self._encode(job)
        room = self._context_tokens - len(prompt)
        if room < 1:
            raise InvalidRequestError(
                f"the prompt has {len(prompt)} tokens and the context holds {self._context_tokens}",
                next_step="shorten the prompt; at least one token of room is needed",
            )
        limit = min(room, job.sampling.max_tokens or room)
        if job.delivered:
            self.check_ids(job.delivered)
            if len(job.delivered) > limit:
                raise InvalidRequestError(
                    f"{len(job.delivered)} tokens were delivered and the limit is {limit}",
                    next_step="go on with the same package and the same request",
                )
        constraint, calls = None, None
        if job.shape is not None:
            constraint, calls = await self._constrain(job, job.shape)
        box = Mailbox(asyncio.get_running_loop())
        return Sequence(
            job, prompt, limit, self._vocabulary, self._eos, box, constraint=constraint, calls=calls
        )

    def check_ids(self, ids: Ids[int]) -> None:
        """Refuse ids that the model does not know.

        Raises:
            InvalidRequestError: one of them is such, or there are none.
        """
        if not ids:
            raise InvalidRequestError("the prompt is empty", next_step="give at least one token")
        if not 0 <= min(ids) <= max(ids) < self._vocab_size:
            raise InvalidRequestError(
                f"token ids run from {min(ids)} to {max(ids)}",
                next_step=f"give ids from 0 to {self._vocab_size - 1}",
            )

    def _encode(self, job: Job) -> list[int]:
        if job.prompt is None:
            tools = job.shape.told if job.shape is not None else ()
            text, special = self._template.render(job.messages, tools), False
        elif isinstance(job.prompt, str):
            text, special = job.prompt, True
        else:
            self.check_ids(job.prompt)
            return list(job.prompt)
        if len(text) > self._context_tokens * self._vocabulary.longest_token_bytes:
            raise InvalidRequestError(
                f"the prompt has {len(text)} characters, more than {self._context_tokens} tokens",
                next_step="shorten the prompt",
            )
        prompt = self._vocabulary.encode(text, special=special)
        if not prompt:
            raise InvalidRequestError("the prompt is empty", next_step="give at least one token")
        return prompt

    async def _constrain(
        self, job: Job, shape: Shape
    ) -> tuple[Constraint | None, CallReader | None]:
        tagged = self._template.tags_calls
        if shape.calls == "auto" and not tagged:
            raise InvalidRequestError(
                "tool_choice is 'auto', and this model has no mark that begins a call",
                next_step="give 'required', 'none' or a function's name",
            )
        if shape.calls != "none" and shape.schema is not None:
            raise InvalidRequestError(
                "response_format comes with tools that may be called",
                next_step="leave one of them out, or give tool_choice 'none'",
            )
        grammar = grammar_of(shape, tagged=tagged)
        constraint = await self._grammars.constrain(grammar) if grammar else None
        if shape.calls == "none":
            return constraint, None
        return constraint, CallReader(tagged=tagged, prefix=f"call_{job.job_id}")
