"""What a gateway says to have a broken answer continued at another site."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.engine import Chunk, Job
from aigrid.live.generation import read_parts

CHAT_PATH = "/v1/chat/completions"
TOKENS_LIMIT = 1_000_000


class Delivered(BaseModel):
    """What the client has of one choice: its tokens, and characters of its logprobs' tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=TOKENS_LIMIT)]
    offset: Annotated[int, Field(ge=0)] = 0


class Resume(BaseModel):
    """A wish to have a broken answer continued.

    Attributes:
        path: of the client's request.
        request: its body.
        package: digest that the delivered tokens belong to; empty where nothing was delivered.
        created_s: of the answer.
        choices: what the client has.
        parts: of an answer that is not streamed, what its sites made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: Literal["/v1/chat/completions", "/v1/completions"]
    request: str
    package: str
    created_s: int
    choices: Annotated[list[Delivered], Field(max_length=128)]
    parts: Annotated[list[str], Field(max_length=TOKENS_LIMIT)] = []

    @property
    def chat(self) -> bool:
        """Whether the client asked for a chat completion."""
        return self.path == CHAT_PATH

    @property
    def body(self) -> bytes:
        """The client's body."""
        return self.request.encode()

    @property
    def offsets(self) -> list[int]:
        """Where the next token's text begins, for each choice."""
        return [choice.offset for choice in self.choices]

    def chunks(self) -> list[Chunk]:
        """Chunks of an answer that is not streamed."""
        return [replace(chunk, finish_reason=None) for chunk in read_parts(self.parts)]

    def jobs(self, jobs: list[Job]) -> list[Job]:
        """The client's jobs, one a choice, behind what was delivered.

        Raises:
            InvalidRequestError: a part that no site wrote, or more choices than were asked for.
        """
        held: list[list[int]] = [[] for _ in jobs]
        try:
            for index, choice in enumerate(self.choices):
                held[index] += choice.tokens
            for chunk in self.chunks():
                held[chunk.choice] += chunk.tokens
        except IndexError:
            raise InvalidRequestError(f"resume: more than {len(jobs)} choices") from None
        return [
            replace(job, delivered=tuple(tokens)) for job, tokens in zip(jobs, held, strict=True)
        ]


def read_resume(raw: bytes) -> Resume:
    """Read a gateway's wish.

    Raises:
        InvalidRequestError: it is not one.
    """
    try:
        return Resume.model_validate(json.loads(raw))
    except (ValueError, RecursionError) as error:
        first = str(error.errors()[0]["loc"]) if isinstance(error, ValidationError) else str(error)
        raise InvalidRequestError(f"resume: {first}", next_step="see live/frames.py") from error
