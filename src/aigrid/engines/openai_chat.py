"""Parts of a chat request: messages, tools, the answer's format."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

from aigrid.engines.engine import Message
from aigrid.engines.openai_fields import RequestFieldError, Strict, short
from aigrid.engines.shape import Shape, ToolCall

TOOLS_LIMIT = 128
CALLS_LIMIT = 128
Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class TextPart(Strict):
    """One part of a message's content; text is the only kind so far."""

    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    """A function's name, and its arguments as JSON text."""

    name: Name
    arguments: str


class ChatToolCall(Strict):
    """A call that the assistant made before."""

    id: str = Field(min_length=1, max_length=256)
    type: Literal["function"] = "function"
    function: CalledFunction

    def to_call(self) -> ToolCall:
        """The call."""
        return ToolCall(self.id, self.function.name, self.function.arguments)


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class ChatMessage(Strict):
    """One turn, as a client sends it; a plain string is one text part."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[list[TextPart] | None, BeforeValidator(_as_parts)] = None
    name: str | None = None
    tool_calls: Annotated[list[ChatToolCall], Field(max_length=CALLS_LIMIT)] | None = None
    tool_call_id: str | None = Field(None, min_length=1, max_length=256)
    # Of an assistant's message as it was answered; nothing that a model reads.
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = Field(None, max_length=0)

    def check(self, where: str) -> None:
        """Refuse a turn that lacks what its role needs.

        Raises:
            RequestFieldError: it does.
        """
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            said = "is None" if "content" in self.model_fields_set else "is missing"
            raise RequestFieldError(f"{where}.content {said}", param=f"{where}.content")
        if (self.role == "tool") != (self.tool_call_id is not None):
            said = "is missing" if self.role == "tool" else f"comes with role {self.role!r}"
            raise RequestFieldError(f"{where}.tool_call_id {said}", param=f"{where}.tool_call_id")
        if self.tool_calls and self.role != "assistant":
            said = f"{where}.tool_calls comes with role {self.role!r}"
            raise RequestFieldError(said, param=f"{where}.tool_calls")
        for place, call in enumerate(self.tool_calls or ()):
            _check_arguments(call.function.arguments, f"{where}.tool_calls.{place}")

    def to_message(self) -> Message:
        """The turn with its text in one piece."""
        text = "".join(part.text for part in self.content or ())
        calls = tuple(call.to_call() for call in self.tool_calls or ())
        return Message(self.role, text, calls, self.tool_call_id or "")


def _check_arguments(arguments: str, where: str) -> None:
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        param = f"{where}.function.arguments"
        raise RequestFieldError(f"{param} is {short(arguments)}: no JSON object", param=param)


class PlainText(Strict):
    """Any text."""

    type: Literal["text"]


class JsonObject(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(Strict):
    """A schema with a name; it is kept to whether `strict` is said or not."""

    name: Name
    description: str | None = Field(None, max_length=4096)
    schema_: dict[str, Any] = Field(default={}, alias="schema")
    strict: bool | None = None


class JsonOfSchema(Strict):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[PlainText | JsonObject | JsonOfSchema, Field(discriminator="type")]


class Function(Strict):
    """A function that the client has."""

    name: Name
    description: str | None = Field(None, max_length=65_536)
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _of_an_object(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        if parameters and parameters.get("type", "object") != "object":
            raise ValueError("a function's parameters are of type 'object'")
        return parameters


class Tool(Strict):
    """A function, as a tool."""

    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    """One function's name."""

    name: Name


class NamedTool(Strict):
    """The one function that must be called."""

    type: Literal["function"]
    function: FunctionName


def shape_of(
    response_format: PlainText | JsonObject | JsonOfSchema | None,
    tools: list[Tool] | None,
    tool_choice: str | NamedTool | None,
    parallel: bool | None,
) -> Shape | None:
    """What the answer must look like; None where any text will do.

    Raises:
        RequestFieldError: fields that do not go together.
    """
    names = [tool.function.name for tool in tools or ()]
    if len(set(names)) < len(names):
        raise RequestFieldError("tools names a function twice", param="tools")
    if isinstance(tool_choice, NamedTool) and tool_choice.function.name not in names:
        raise RequestFieldError(
            f"tool_choice names {tool_choice.function.name!r}, which is not among the tools",
            param="tool_choice",
        )
    if tool_choice == "required" and not names:
        raise RequestFieldError("tool_choice is 'required' without tools", param="tool_choice")
    plain = response_format is None or isinstance(response_format, PlainText)
    if plain and not tools:
        return None
    choice = tool_choice or "auto"
    return Shape(
        None if plain or response_format is None else _plain(response_format),
        tuple(_plain(tool) for tool in tools or ()),
        choice if isinstance(choice, str) else _plain(choice),
        True if parallel is None else parallel,
    )


def _plain(model: Strict) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_unset=True)
