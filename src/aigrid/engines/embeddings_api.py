"""Embeddings of the OpenAI API: requests read with every key known, answers written."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PlainValidator

from aigrid.core.errors import TooLargeError, UnavailableError
from aigrid.engines.embedding import (
    INPUTS_LIMIT,
    EmbeddingJob,
    Embeddings,
    Input,
    Vectors,
    check_total,
)
from aigrid.engines.openai_api import parse_as
from aigrid.engines.openai_fields import Strict, short

PATH = "/v1/embeddings"
ANSWER_LIMIT_BYTES = 60 << 20  # gateways take 64 MiB
FLOAT_BYTES = 24  # of a number in JSON, and its comma, at most
_SHAPE = "give a text, a list of texts, a list of token ids, or a list of such lists"
_FLOATS = np.dtype("<f4")


def _inputs(given: Any) -> tuple[Input, ...]:
    """One text, several, one list of ids, or several: told apart by their first."""
    if isinstance(given, str) or (isinstance(given, list) and given and type(given[0]) is int):
        given = [given]
    if not isinstance(given, list):
        raise ValueError(_SHAPE)  # noqa: TRY004  pydantic reads it
    if not 1 <= len(given) <= INPUTS_LIMIT:
        raise ValueError(f"{len(given)} inputs, give 1 to {INPUTS_LIMIT}")
    return tuple(_input(at, one) for at, one in enumerate(given))


def _input(at: int, given: Any) -> Input:
    if isinstance(given, str) and given:
        return given
    if isinstance(given, list) and given and all(type(token) is int for token in given):
        return tuple(given)
    if given in ("", []):
        raise ValueError(f"input {at} is empty, each needs at least one token")
    raise ValueError(f"input {at} is {short(given)}; {_SHAPE}")


class EmbeddingRequest(Strict):
    """`POST /v1/embeddings`."""

    model: str = Field(min_length=1, max_length=256)
    input: Annotated[tuple[Input, ...], PlainValidator(_inputs)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, le=65536)
    user: str | None = None


def parse_embeddings(body: bytes) -> EmbeddingRequest:
    """Read an embeddings request.

    Raises:
        InvalidRequestError: not JSON, an unknown key, a value that cannot be, or token ids that
            are too many together.
    """
    request: EmbeddingRequest = parse_as(EmbeddingRequest, body)
    check_total(sum(len(one) for one in request.input if isinstance(one, tuple)))
    return request


def to_embedding_job(request: EmbeddingRequest, job_id: str) -> EmbeddingJob:
    """The job that a request asks for."""
    return EmbeddingJob(job_id, request.input, request.dimensions)


def answer_body(request: EmbeddingRequest, made: Embeddings) -> bytes:
    """The whole answer.

    Raises:
        TooLargeError: as numbers in JSON it would be over `ANSWER_LIMIT_BYTES`.
    """
    in_base64 = request.encoding_format == "base64"
    size = made.vectors.size * (6 if in_base64 else FLOAT_BYTES)
    if size > ANSWER_LIMIT_BYTES:
        count, width = made.vectors.shape
        raise TooLargeError(
            f"{count} vectors of {width} numbers may take {size} bytes, the limit is"
            f" {ANSWER_LIMIT_BYTES}",
            next_step="send fewer inputs" if in_base64 else "ask for encoding_format base64",
        )
    rows = map(_as_base64, made.vectors) if in_base64 else made.vectors.tolist()
    data = [
        {"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens}
    whole = {"object": "list", "data": data, "model": request.model, "usage": usage}
    return msgspec.json.encode(whole)


def request_body(job: EmbeddingJob, model: str) -> bytes:
    """The request that has an upstream server do a job."""
    inputs = [one if isinstance(one, str) else list(one) for one in job.inputs]
    asked: dict[str, Any] = {"model": model, "input": inputs, "encoding_format": "float"}
    if job.dimensions is not None:
        asked["dimensions"] = job.dimensions
    return msgspec.json.encode(asked)


class _Row(msgspec.Struct):
    index: int
    embedding: list[float] | str


class _Usage(msgspec.Struct):
    prompt_tokens: int


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: _Usage


def read_answer(body: bytes, job: EmbeddingJob) -> Embeddings:
    """What an upstream server made of a job.

    Raises:
        UnavailableError: it is not an answer to it.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        rows = [_as_vector(row.embedding) for row in sorted(answer.data, key=lambda r: r.index)]
        vectors = np.stack(rows)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable(str(error)) from error
    indices = sorted(row.index for row in answer.data)
    if indices != list(range(len(job.inputs))):
        raise _unreadable(f"{len(indices)} vectors for {len(job.inputs)} inputs")
    if not vectors.size or not np.isfinite(vectors).all():
        raise _unreadable("a vector is empty, or one of its numbers is none")
    if job.dimensions not in (None, vectors.shape[1]):
        raise _unreadable(f"{vectors.shape[1]} dimensions, {job.dimensions} were asked for")
    return Embeddings(vectors, max(0, answer.usage.prompt_tokens))


def _unreadable(why: str) -> UnavailableError:
    return UnavailableError(
        f"upstream sent embeddings that cannot be read: {why[:200]}",
        next_step="look at the upstream server",
    )


def _as_base64(vector: Vectors) -> str:
    """Little-endian float32, as OpenAI packs it."""
    return base64.b64encode(vector.astype(_FLOATS).tobytes()).decode()


def _as_vector(given: list[float] | str) -> NDArray[np.float32]:
    if isinstance(given, str):  # some servers send nothing else
        return np.frombuffer(base64.b64decode(given, validate=True), _FLOATS).astype(np.float32)
    with np.errstate(over="ignore"):  # what is too large for a float32 is found out later
        return np.asarray(given, np.float32)
