"""Requests of the OpenAI API: read with every key known, written for an upstream server.

Answers are in `openai_answers`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field, PlainValidator, StringConstraints, ValidationError

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.engine import Job, Message, Sampling
from aigrid.engines.openai_chat import (
    TOOLS_LIMIT,
    ChatMessage,
    NamedTool,
    ResponseFormat,
    Tool,
    shape_of,
)
from aigrid.engines.openai_fields import (
    RequestFieldError,
    Strict,
    field_error,
    short,
    unsupported,
)
from aigrid.engines.shape import Shape

CHOICES_LIMIT = 8

# Parameters that are accepted where they ask for nothing; anything else is said to be unsupported.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "echo": (False,),
    "suffix": ("",),
    "store": (False,),
    "service_tier": ("auto", "default"),
}


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


class StreamOptions(Strict):
    """`include_usage` asks for a last chunk with token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


StopString = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]


class _Common(Strict):
    model: str = Field(min_length=1, max_length=256)
    n: int | None = Field(None, ge=1, le=CHOICES_LIMIT)
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
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=TOOLS_LIMIT)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    def shape(self) -> Shape | None:
        """What the answer must look like."""
        return shape_of(
            self.response_format, self.tools, self.tool_choice, self.parallel_tool_calls
        )

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
    for place, message in enumerate(request.messages):
        message.check(f"messages.{place}")
    request.shape()
    return request


def parse_completion(body: bytes) -> CompletionRequest:
    """Read a completion request.

    Raises:
        InvalidRequestError: not JSON, an unknown or unsupported key, a value that cannot be.
    """
    request: CompletionRequest = _parse(CompletionRequest, body)
    return request


def to_jobs(request: ChatRequest | CompletionRequest, job_id: str) -> list[Job]:
    """The jobs that a request asks for, one a choice; a seed counts on from choice to choice."""
    one = to_job(request, job_id)
    seed = one.sampling.seed
    return [one] + [
        replace(
            one,
            job_id=f"{job_id}-{choice}",
            sampling=replace(one.sampling, seed=None if seed is None else seed + choice),
        )
        for choice in range(1, request.n or 1)
    ]


def to_job(request: ChatRequest | CompletionRequest, job_id: str) -> Job:
    """The job of a request's first choice."""
    sampling = request.sampling()
    if isinstance(request, ChatRequest):
        messages = tuple(m.to_message() for m in request.messages)
        return Job(job_id, sampling, messages=messages, shape=request.shape())
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
            f"model is {short(model)}", param="model", next_step="name one of GET /v1/models"
        )
    if stream is not None and not isinstance(stream, bool):
        raise RequestFieldError(
            f"stream is {short(stream)}", param="stream", next_step="give true or false"
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
        body["messages"] = [_turn(message) for message in job.messages]
        body |= job.shape.fields() if job.shape is not None else {}
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


def _turn(message: Message) -> dict[str, Any]:
    """A message as the OpenAI API spells it."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        turn["content"] = message.content or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return turn


def _parse(kind: type[Any], body: bytes) -> Any:
    raw = _decode(body)
    for key, neutral in NEUTRAL.items():
        value = raw.pop(key, None)
        if value is not None and value not in neutral:
            raise unsupported(key, value)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise field_error(kind, error) from error


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
