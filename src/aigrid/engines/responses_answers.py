"""Answers of the OpenAI Responses API, made of chat answers: whole ones, and streams of events."""

from __future__ import annotations

import json
from typing import Any

from aigrid.engines.openai_answers import DONE
from aigrid.engines.responses_api import FIELDS

_DATA = b"data: "


class ResponseWriter:
    """Writes one answer.

    Args:
        echo: what it says of its request, see `ResponsesRequest.echo`.
    """

    def __init__(self, echo: dict[str, Any]) -> None:
        self._echo = echo
        self._number = -1
        self._head: dict[str, Any] = {}
        self._items: list[dict[str, Any]] = []
        self._finish: str | None = None
        self._usage: dict[str, Any] | None = None
        self._over = False

    # -- whole answers -----------------------------------------------------------------------------

    def body(self, chat: bytes) -> bytes:
        """The whole answer, from a whole chat answer."""
        said = json.loads(chat)
        self._begin(said)
        choice = said["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls") or []
        if message.get("content") or not calls:
            self._add(_message(self._id("msg"), message.get("content") or ""))
        for call in calls:
            self._add(_function_call(self._id("fc"), call["id"], **call["function"]))
        self._finish, self._usage = choice["finish_reason"], said["usage"]
        self._close_items()
        return _json(self._response(self._status()))

    @staticmethod
    def error(body: bytes) -> bytes:
        """A refusal of the chat request, in this API's names."""
        try:
            said = json.loads(body)
            param = said["error"]["param"]
        except (ValueError, KeyError, TypeError):
            return body
        said["error"]["param"] = FIELDS.get(param, param)
        return _json(said)

    # -- streams -----------------------------------------------------------------------------------

    def events(self, piece: bytes) -> bytes:
        """What whole events of a chat stream become; may be empty.

        Args:
            piece: blocks of `data:`, each with its empty line.
        """
        out = [self._read(block) for block in piece.split(b"\n\n") if block.startswith(_DATA)]
        return b"".join(out)

    def _read(self, block: bytes) -> bytes:
        if block + b"\n\n" == DONE:
            return self._end()
        said = json.loads(block[len(_DATA) :])
        if said.get("error"):
            self._over = True
            told = {key: said["error"].get(key) for key in ("code", "message", "param")}
            return self._event("error", told)
        out = b""
        if not self._head:
            self._begin(said)
            out += self._event("response.created", {"response": self._response("in_progress")})
            out += self._event("response.in_progress", {"response": self._response("in_progress")})
        self._usage = said.get("usage") or self._usage
        for choice in said["choices"]:
            out += self._choice(choice)
        return out

    def _choice(self, choice: dict[str, Any]) -> bytes:
        out, delta = b"", choice["delta"]
        if text := delta.get("content"):
            out += b"" if self._writes_text() else self._open_message()
            self._items[-1]["content"][0]["text"] += text
            told = self._place() | {"content_index": 0, "delta": text, "logprobs": []}
            out += self._event("response.output_text.delta", told)
        for call in delta.get("tool_calls") or ():
            out += self._call(call)
        self._finish = choice["finish_reason"] or self._finish
        return out

    def _call(self, call: dict[str, Any]) -> bytes:
        out, function = b"", call.get("function") or {}
        if call.get("id"):
            out += self._close()
            self._add(_function_call(self._id("fc"), call["id"], function.get("name", ""), ""))
            out += self._event("response.output_item.added", self._item())
        arguments = function.get("arguments")
        if arguments:
            self._items[-1]["arguments"] += arguments
            told = self._place() | {"delta": arguments}
            out += self._event("response.function_call_arguments.delta", told)
        return out

    def _writes_text(self) -> bool:
        last = self._items[-1] if self._items else {}
        return last.get("type") == "message" and last["status"] == "in_progress"

    def _open_message(self) -> bytes:
        out = self._close()
        item = _message(self._id("msg"), "")
        self._add(item)
        bare = {"item": item | {"content": []}, "output_index": len(self._items) - 1}
        out += self._event("response.output_item.added", bare)
        return out + self._event("response.content_part.added", self._part())

    def _close(self, status: str = "completed") -> bytes:
        """The end of the item that is being written."""
        if not self._items or self._items[-1]["status"] != "in_progress":
            return b""
        item = self._items[-1]
        if item["type"] == "message":
            text = {"text": item["content"][0]["text"], "logprobs": [], "content_index": 0}
            out = self._event("response.output_text.done", self._place() | text)
            out += self._event("response.content_part.done", self._part())
        else:
            told = self._place() | {"arguments": item["arguments"], "name": item["name"]}
            out = self._event("response.function_call_arguments.done", told)
        item["status"] = status
        return out + self._event("response.output_item.done", self._item())

    def _end(self) -> bytes:
        if self._over:
            return b""
        status = self._status()
        out = self._open_message() if not self._items else b""
        out += self._close(status)
        return out + self._event(f"response.{status}", {"response": self._response(status)})

    def _event(self, kind: str, told: dict[str, Any]) -> bytes:
        self._number += 1
        said = _json({"type": kind, "sequence_number": self._number} | told)
        return b"event: " + kind.encode() + b"\ndata: " + said + b"\n\n"

    # -- what both are made of ---------------------------------------------------------------------

    def _begin(self, said: dict[str, Any]) -> None:
        name = said["id"].removeprefix("chatcmpl-").removeprefix("req-")
        self._head = {
            "id": f"resp_{name}",
            "object": "response",
            "created_at": said["created"],
            "error": None,
        } | self._echo

    def _id(self, kind: str) -> str:
        name = self._head["id"].removeprefix("resp_")
        return f"{kind}_{name}_{len(self._items)}"

    def _add(self, item: dict[str, Any]) -> None:
        self._items.append(item)

    def _close_items(self) -> None:
        for item in self._items:
            item["status"] = "completed"
        self._items[-1]["status"] = self._status()

    def _item(self) -> dict[str, Any]:
        return {"item": self._items[-1], "output_index": len(self._items) - 1}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _part(self) -> dict[str, Any]:
        return self._place() | {"content_index": 0, "part": self._items[-1]["content"][0]}

    def _status(self) -> str:
        return "incomplete" if self._finish == "length" else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return self._head | {
            "status": status,
            "incomplete_details": cut,
            "output": self._items,
            "usage": None if status == "in_progress" else self._counts(),
        }

    def _counts(self) -> dict[str, Any]:
        used = self._usage or {}
        return {
            "input_tokens": used.get("prompt_tokens", 0),
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used.get("completion_tokens", 0),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.get("total_tokens", 0),
        }


def _message(item_id: str, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    said = {"id": item_id, "type": "message", "role": "assistant", "content": [part]}
    return said | {"status": "in_progress"}


def _function_call(item_id: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    called = {"id": item_id, "type": "function_call", "call_id": call_id, "name": name}
    return called | {"arguments": arguments, "status": "in_progress"}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
