"""The seam between a site and whatever turns texts into vectors."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.engine import Chunk, Engine, JobTimes

# Limits of the OpenAI API, https://platform.openai.com/docs/api-reference/embeddings/create
INPUTS_LIMIT = 2048
TOKENS_LIMIT = 300_000

Vectors = NDArray[np.float32]
Input = str | tuple[int, ...]


@dataclass(slots=True)
class JobProgress:
    """How far an engine is with a job; it goes on counting in it.

    Attributes:
        inputs: of the job that have their vectors.
    """

    inputs: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """Texts, or the ids of their tokens, that shall become vectors.

    Attributes:
        job_id: unique.
        inputs: 1 to `INPUTS_LIMIT` of them; ids are taken as they are, nothing is put around them.
        dimensions: of each vector; None for as many as the model makes.
        progress: where the engine notes it.
        times: where the engine notes them; None where nobody wants to know.
        traceparent: W3C trace context for servers that it asks; empty for none.
    """

    job_id: str
    inputs: tuple[Input, ...]
    dimensions: int | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    times: JobTimes | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of a job.

    Attributes:
        vectors: float32 [inputs, dimensions], in the order of the inputs.
        prompt_tokens: that were read, of all inputs together.
    """

    vectors: Vectors
    prompt_tokens: int


@runtime_checkable
class Embedder(Engine, Protocol):
    """An engine that makes vectors; whether it makes text too is its own affair."""

    async def embed(self, job: EmbeddingJob) -> Embeddings:
        """The vectors of a job; cancelling frees its place at once.

        Raises:
            InvalidRequestError: an input is longer than the context, all are too long together,
                or the model cannot make so many dimensions.
            OverloadedError: the waiting line is full.
            UnavailableError: the engine is closed or its upstream cannot be reached.
        """
        ...


class InputError(InvalidRequestError):
    """One input of an embeddings request cannot be used; `param` names it for the error body."""

    def __init__(self, message: str, *, param: str = "input", next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.param = param


def check_total(tokens: int) -> None:
    """Refuse a job whose inputs are too long together.

    Raises:
        InputError: over `TOKENS_LIMIT`.
    """
    if tokens > TOKENS_LIMIT:
        raise InputError(
            f"the inputs have {tokens} tokens together, the limit is {TOKENS_LIMIT}",
            next_step="send fewer inputs at once",
        )


async def no_text() -> AsyncGenerator[Chunk, None]:
    """A stream that ends before its first chunk.

    Raises:
        InvalidRequestError: on its first step.
    """
    nothing: tuple[Chunk, ...] = ()
    for chunk in nothing:
        yield chunk
    raise InvalidRequestError("this model makes no text", next_step="POST /v1/embeddings")
