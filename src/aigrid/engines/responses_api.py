"""Requests of the OpenAI Responses API, as the chat requests that give the same answers."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError

from aigrid.engines.openai_api import StreamOptions, Temperature, decode
from aigrid.engines.openai_chat import (
    TOOLS_LIMIT,
    Function,
    JsonObject,
    JsonSchema,
    Name,
    PlainText,
)
from aigrid.engines.openai_fields import (
    RequestFieldError,
    Strict,
    field_error,
    unsupported,
)

PATH = "/v1/responses"
# Parameters that are accepted where they ask for nothing; anything else is said to be unsupported.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "include": ([],),
    "max_tool_calls": (),
    "conversation": (),
    "prompt": (),
    "reasoning": ({}, {"effort": None}, {"effort": "none"}),
    "service_tier": ("auto", "default"),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
# What a chat request's field is called here.
FIELDS = {
    "messages": "input",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
}


class InputText(Strict):
    """Text of a turn; `output_text` where the model said it."""

    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] = Field([], max_length=0)
    logprobs: list[Any] | None = Field(None, max_length=0)


def _as_parts(content: Any) -> Any:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


Content = Annotated[list[InputText], BeforeValidator(_as_parts)]


class _Item(Strict):
    id: str | None = Field(None, max_length=256)
    status: Literal["in_progress", "completed", "incomplete"] | None = None


class InputMessage(_Item):
    """One turn."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    phase: None = None


class InputCall(_Item):
    """A call that the model made before."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1, max_length=256)
    name: Name
    arguments: str


class InputCallOutput(_Item):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1, max_length=256)
    output: Content


def _kind(item: Any) -> str:
    said = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return str(said or "message")


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")],
    Discriminator(_kind),
]


def _as_items(given: Any) -> Any:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


class NamedJsonSchema(JsonSchema):
    """JSON of a schema; type, name and schema stand side by side here."""

    type: Literal["json_schema"]


class TextOptions(Strict):
    """What the text must look like."""

    format: (
        Annotated[PlainText | JsonObject | NamedJsonSchema, Field(discriminator="type")] | None
    ) = None
    verbosity: Literal["medium"] | None = None


class _OfFunctions(Strict):
    type: Literal["function"]


class FunctionTool(Function, _OfFunctions):
    """A function, as a tool."""


class NamedFunction(Strict):
    """The one function that must be called."""

    type: Literal["function"]
    name: Name


class ResponsesRequest(Strict):
    """`POST /v1/responses`."""

    model: str = Field(min_length=1, max_length=256)
    input: Annotated[list[InputItem], Field(min_length=1, max_length=1024)] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: Temperature | None = None
    top_p: float | None = Field(None, gt=0, le=1)
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=TOOLS_LIMIT)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    store: Literal[False] | None = None
    previous_response_id: None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None

    def chat(self) -> dict[str, Any]:
        """The chat request."""
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(),
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": self._format(),
            "tools": [_nested(tool) for tool in self.tools or ()] or None,
            "tool_choice": self._choice(),
            "parallel_tool_calls": self.parallel_tool_calls,
        }
        if self.stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        return {name: value for name, value in asked.items() if value is not None}

    def echo(self) -> dict[str, Any]:
        """What an answer says of its request."""
        fields = {"text", "tools", "tool_choice"}
        said = self.model_dump(include=fields, by_alias=True, exclude_unset=True)
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "model": self.model,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": (said.get("text") or {}).get("format") or {"type": "text"}},
            "tool_choice": said.get("tool_choice") or "auto",
            "tools": [{"strict": None, "parameters": None} | t for t in said.get("tools") or ()],
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": "disabled",
            "user": self.user,
        }

    def _messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if self.instructions is not None:
            messages.append({"role": "system", "content": self.instructions})
        for item in self.input or ():
            if isinstance(item, InputMessage):
                messages.append({"role": item.role, "content": _text(item.content)})
            elif isinstance(item, InputCallOutput):
                output = _text(item.output)
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": output})
            else:
                _caller(messages)["tool_calls"].append(_call(item))
        return messages

    def _format(self) -> dict[str, Any] | None:
        asked = self.text.format if self.text is not None else None
        if not isinstance(asked, NamedJsonSchema):
            return None if asked is None else {"type": asked.type}
        schema = asked.model_dump(by_alias=True, exclude_unset=True, exclude={"type"})
        return {"type": "json_schema", "json_schema": schema}

    def _choice(self) -> str | dict[str, Any] | None:
        if not isinstance(self.tool_choice, NamedFunction):
            return self.tool_choice
        return {"type": "function", "function": {"name": self.tool_choice.name}}


def _text(content: list[InputText]) -> str:
    return "".join(part.text for part in content)


def _caller(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's turn that calls stand in: the one before, or a new one."""
    if not (messages and messages[-1]["role"] == "assistant"):
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", [])
    return messages[-1]


def _call(item: InputCall) -> dict[str, Any]:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _nested(tool: FunctionTool) -> dict[str, Any]:
    function = tool.model_dump(exclude_unset=True, exclude={"type"})
    return {"type": "function", "function": function}


def parse_responses(body: bytes) -> ResponsesRequest:
    """Read a request.

    Raises:
        InvalidRequestError: not JSON, an unknown or unsupported key, a value that cannot be.
    """
    raw = decode(body)
    for key, neutral in NEUTRAL.items():
        value = raw.pop(key, None)
        if value is not None and value not in neutral:
            raise unsupported(key, value)
    if raw.get("previous_response_id") is not None:
        raise RequestFieldError(
            "previous_response_id: answers are not stored here",
            param="previous_response_id",
            code="unsupported_parameter",
            next_step="send the whole conversation as input, with store set to false",
        )
    if raw.get("store") is True:
        raise unsupported("store", True)
    raw["input"] = _as_items(raw.get("input"))
    try:
        request = ResponsesRequest.model_validate(raw)
    except ValidationError as error:
        raise field_error(ResponsesRequest, error) from error
    if not request.input and request.instructions is None:
        raise RequestFieldError("input is missing", param="input", next_step="add it")
    return request


def chat_body(request: ResponsesRequest) -> bytes:
    """The chat request's body."""
    return json.dumps(request.chat(), ensure_ascii=False).encode()
