"""What an answer must look like: JSON of a schema, or calls of functions that the client has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# How many models are taught to mark a call (Hermes, Qwen).
OPEN_CALL, CLOSE_CALL = "<tool_call>", "</tool_call>"
# A function without parameters takes none.
NO_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a client's function: its id, the function's name, its arguments as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    """The next piece of a tool call.

    Attributes:
        index: which call of the answer.
        arguments: more of the JSON text.
        id: of the call, with its first piece.
        name: of the function, with the first piece.
    """

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


def whole_calls(deltas: list[CallDelta]) -> list[ToolCall]:
    """Calls put together from their pieces."""
    calls: dict[int, ToolCall] = {}
    for delta in deltas:
        known = calls.get(delta.index) or ToolCall("", "", "")
        calls[delta.index] = ToolCall(
            known.id or delta.id, known.name or delta.name, known.arguments + delta.arguments
        )
    return [calls[index] for index in sorted(calls)]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one answer; values as the client wrote them, so that they can go upstream as they came.

    Attributes:
        response_format: of type `json_object` or `json_schema`; None for plain text.
        tools: functions that may be called.
        tool_choice: `none`, `auto`, `required`, or one function's name as the OpenAI API has it.
        parallel_tool_calls: whether one answer may make several calls.
    """

    response_format: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True

    @property
    def schema(self) -> dict[str, Any] | bool | None:
        """JSON schema of the answer; None where it may be any text."""
        if self.response_format is None:
            return None
        if self.response_format["type"] == "json_object":
            return {"type": "object"}
        schema: dict[str, Any] = self.response_format["json_schema"].get("schema") or {}
        return schema

    @property
    def calls(self) -> str:
        """`auto` where the model decides whether it calls, `required`, or `none`."""
        if not self.tools:
            return "none"
        return "required" if isinstance(self.tool_choice, dict) else self.tool_choice

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """Tools that the model is told of: not those that it must not call."""
        return () if self.calls == "none" else self.tools

    @property
    def named(self) -> str:
        """The one function that must be called; empty where none is named."""
        choice = self.tool_choice
        return str(choice["function"]["name"]) if isinstance(choice, dict) else ""

    def callable(self) -> dict[str, dict[str, Any]]:
        """JSON schema of the arguments of each function that may be called, by its name."""
        functions = [tool["function"] for tool in self.tools]
        return {
            str(function["name"]): {"type": "object"}
            | (function.get("parameters") or NO_PARAMETERS)
            for function in functions
            if self.named in ("", function["name"])
        }

    def fields(self) -> dict[str, Any]:
        """The request's fields for an upstream server."""
        asked: dict[str, Any] = {}
        if self.response_format is not None:
            asked["response_format"] = self.response_format
        if self.tools:
            asked |= {
                "tools": list(self.tools),
                "tool_choice": self.tool_choice,
                "parallel_tool_calls": self.parallel_tool_calls,
            }
        return asked
