"""Requests of the OpenAI API: read with every key known, written for an upstream server.

Answers are in `openai_answers`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
)

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.engine import Job, Message, Sampling

# Parameters that are accepted where they ask for nothing; anything else is said to be unsupported.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "echo": (False,),
    "suffix": ("",),
    "store": (False,),
    "service_tier": ("auto", "default"),
}


class RequestFieldError(InvalidRequestError):
    """A field of a request is wrong; `param` names it as the OpenAI error body does."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "", next_step: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.param = param
        self.code = code or InvalidRequestError.code


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(_Strict):
    """One part of a message's content; text is the only kind so far."""

    type: Literal["text"]
    text: str


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _prompt(prompt: Any) -> str | tuple[int, ...]:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return tuple(prompt)
    raise ValueError("give one text, or a list of token ids")


class ChatMessage(_Strict):
    """One turn, as a client sends it; a plain string is one text part."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[TextPart], BeforeValidator(_as_parts)]
    name: str | None = None

    def to_message(self) -> Message:
        """The turn with its text in one piece."""
        return Message(self.role, "".join(part.text for part in self.content))


class StreamOptions(_Strict):
    """`include_usage` asks for a last chunk with token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


StopString = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]


class _Common(_Strict):
    model: str = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(None, ge=1)
    temperature: Temperature | None = None
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[list[StopString] | None, Field(max_length=4), BeforeValidator(_as_list)] = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _sampling(self, limit: int | None, logprobs: bool, top_logprobs: int) -> Sampling:
        return Sampling(
            max_tokens=limit,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            logprobs=logprobs,
            top_logprobs=top_logprobs,
        )


class ChatRequest(_Common):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=1024)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)

    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        limit = self.max_completion_tokens or self.max_tokens
        return self._sampling(limit, bool(self.logprobs), self.top_logprobs or 0)


class CompletionRequest(_Common):
    """`POST /v1/completions`."""

    prompt: Annotated[str | tuple[int, ...], PlainValidator(_prompt)]
    logprobs: int | None = Field(None, ge=0, le=20)

    def sampling(self) -> Sampling:
        """How tokens are chosen; 16 tokens unless told, as the OpenAI API has it."""
        return self._sampling(self.max_tokens or 16, self.logprobs is not None, self.logprobs or 0)


def parse_chat(body: bytes) -> ChatRequest:
    """Read a chat request.

    Raises:
        InvalidRequestError: not JSON, an unknown or unsupported key, a value that cannot be.
    """
    request: ChatRequest = _parse(ChatRequest, body)
    if request.top_logprobs and not request.logprobs:
        raise RequestFieldError(
            "top_logprobs is set without logprobs",
            param="top_logprobs",
            next_step="set logprobs to true",
        )
    return request


def parse_completion(body: bytes) -> CompletionRequest:
    """Read a completion request.

    Raises:
        InvalidRequestError: not JSON, an unknown or unsupported key, a value that cannot be.
    """
    request: CompletionRequest = _parse(CompletionRequest, body)
    return request


def parse_as(kind: type[Any], body: bytes) -> Any:
    """Read a request of another endpoint: JSON, by its model alone.

    Raises:
        InvalidRequestError: not JSON, an unknown key, a value that cannot be.
    """
    return _validated(kind, _decode(body))


def to_job(request: ChatRequest | CompletionRequest, job_id: str) -> Job:
    """The job that a request asks for."""
    sampling = request.sampling()
    if isinstance(request, ChatRequest):
        return Job(job_id, sampling, messages=tuple(m.to_message() for m in request.messages))
    return Job(job_id, sampling, prompt=request.prompt)


def peek(body: bytes) -> tuple[str, bool]:
    """Model and stream flag of a request, for who passes it on without reading the rest.

    Raises:
        InvalidRequestError: not a JSON object, or no model named.
    """
    raw = _decode_fast(body)
    model, stream = raw.get("model"), raw.get("stream")
    if not isinstance(model, str) or not model:
        raise RequestFieldError(
            f"model is {_short(model)}", param="model", next_step="name one of GET /v1/models"
        )
    if stream is not None and not isinstance(stream, bool):
        raise RequestFieldError(
            f"stream is {_short(stream)}", param="stream", next_step="give true or false"
        )
    return model, bool(stream)


def request_body(job: Job, model: str) -> dict[str, Any]:
    """A streamed request for an upstream server that gives the job's answer."""
    sampling = job.sampling
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if job.prompt is None:
        body["messages"] = [{"role": m.role, "content": m.content} for m in job.messages]
    else:
        body["prompt"] = job.prompt if isinstance(job.prompt, str) else list(job.prompt)
    optional = {
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    if sampling.logprobs and job.prompt is None:
        optional |= {"logprobs": True, "top_logprobs": sampling.top_logprobs or None}
    elif sampling.logprobs:
        optional["logprobs"] = sampling.top_logprobs
    return body | {key: value for key, value in optional.items() if value is not None}


def _parse(kind: type[Any], body: bytes) -> Any:
    raw = _decode(body)
    for key, neutral in NEUTRAL.items():
        value = raw.pop(key, None)
        if value is not None and value not in neutral:
            raise RequestFieldError(
                f"{key} is {_short(value)}, which is not supported",
                param=key,
                code="unsupported_parameter",
                next_step=f"leave {key} out",
            )
    return _validated(kind, raw)


def _validated(kind: type[Any], raw: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise _field_error(kind, error) from error


def _decode_fast(body: bytes) -> dict[str, Any]:
    """As `_decode`, several times faster where nothing is wrong."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _decode(body)  # it knows more encodings, and says what is wrong
    return raw if isinstance(raw, dict) else _decode(body)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(body, parse_constant=_refuse_constant)
        if b"\\ud" in body.lower():  # an escaped half of a character pair, perhaps a lone one
            json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"the body is not valid JSON: {error}", next_step="send a JSON object"
        ) from error
    if not isinstance(raw, dict):
        raise InvalidRequestError(
            f"the body is a JSON {type(raw).__name__}", next_step="send a JSON object"
        )
    return raw


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _field_error(kind: type[BaseModel], error: ValidationError) -> RequestFieldError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields)) if len(first["loc"]) == 1 else ""
        return RequestFieldError(
            f"unknown key {where!r}",
            param=where,
            code="unknown_parameter",
            next_step=f"known keys: {known}" if known else "leave it out",
        )
    if first["type"] == "missing":
        return RequestFieldError(f"{where} is missing", param=where, next_step="add it")
    reason = first["msg"].removeprefix("Value error, ")
    return RequestFieldError(f"{where} is {_short(first['input'])}: {reason}", param=where)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
