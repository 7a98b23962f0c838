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
    def offset(self) -> int:
        """Where the next token's text begins."""
        return self.choices[0].offset if self.choices else 0

    def chunks(self) -> list[Chunk]:
        """Chunks of an answer that is not streamed."""
        return [replace(chunk, finish_reason=None) for chunk in read_parts(self.parts)]

    def job(self, job: Job) -> Job:
        """The client's job behind what was delivered.

        Raises:
            InvalidRequestError: a part that no site wrote.
        """
        tokens = [token for choice in self.choices for token in choice.tokens]
        tokens += [token for chunk in self.chunks() for token in chunk.tokens]
        return replace(job, delivered=tuple(tokens))


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
