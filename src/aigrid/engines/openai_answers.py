"""Answers of the OpenAI API: whole bodies, server-sent events, errors.

Events are the hot path: what does not change within an answer is put together once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aigrid.core.errors import AigridError
from aigrid.engines.engine import Chunk, TokenLogprob
from aigrid.engines.shape import CallDelta, ToolCall, whole_calls

DONE = b"data: [DONE]\n\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Token counts as the OpenAI API spells them."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class Answer:
    """Writes one answer; for chat or for completions.

    Args:
        answer_id: e.g. `chatcmpl-...`; unique.
        model: the name that the client asked for.
        created_s: seconds since 1970.
        chat: chat completions, else completions.
        include_usage: end a stream with token counts.
        logprobs: the client asked for log-probabilities.
        choices: answers in one.
        offsets: for each choice, characters of the tokens that the client has, where logprobs are
            asked for.
    """

    def __init__(
        self,
        answer_id: str,
        model: str,
        created_s: int,
        *,
        chat: bool,
        include_usage: bool = False,
        logprobs: bool = False,
        choices: int = 1,
        offsets: Sequence[int] = (),
    ) -> None:
        self.choices = choices
        self.offsets = [*offsets, *[0] * (choices - len(offsets))]
        self._chat = chat
        self._logprobs = logprobs
        self._include_usage = include_usage
        self._head = {"id": answer_id, "created": created_s, "model": model}
        kind = "chat.completion.chunk" if chat else "text_completion"
        head = _json(self._head | {"object": kind})[:-1]
        self._event_head = f"data: {head},"
        tail = ',"usage":null}\n\n' if include_usage else "}\n\n"
        content = '"delta":{"content":' if chat else '"text":'
        self._opens = [
            f'{self._event_head}"choices":[{{"index":{index},{content}' for index in range(choices)
        ]
        self._plain_end = f'{"}" if chat else ""},"logprobs":null,"finish_reason":null}}]{tail}'
        self._tail = tail
        self._made: dict[int, int] = {}

    @property
    def ended(self) -> bool:
        """Whether every choice has been written to its end."""
        return len(self._made) == self.choices

    def first_event(self) -> bytes:
        """What precedes the text: chat names each choice's role; completions need nothing."""
        if not self._chat:
            return b""
        choices = ",".join(
            f'{{"index":{index},"delta":{{"role":"assistant","content":""}},'
            '"logprobs":null,"finish_reason":null}'
            for index in range(self.choices)
        )
        return f'{self._event_head}"choices":[{choices}]{self._tail}'.encode()

    def event(self, chunk: Chunk) -> bytes:
        """A chunk's event, and after the last chunk what ends the stream; may be empty."""
        if chunk.finish_reason is None and not chunk.logprobs and not chunk.calls:
            if not chunk.text:
                return b""
            text = json.dumps(chunk.text)
            return f"{self._opens[chunk.choice]}{text}{self._plain_end}".encode()
        event = self._full_event(chunk)
        if chunk.finish_reason is not None:
            self._made[chunk.choice] = chunk.completion_tokens
            event += self._last_events(chunk.prompt_tokens) if self.ended else b""
        return event

    def _full_event(self, chunk: Chunk) -> bytes:
        choice: dict[str, Any] = {"index": chunk.choice}
        if self._chat:
            choice["delta"] = {"content": chunk.text} if chunk.text else {}
            if chunk.calls:
                choice["delta"]["tool_calls"] = [_call_delta(delta) for delta in chunk.calls]
        else:
            choice["text"] = chunk.text
        choice["logprobs"] = self._describe(chunk.choice, chunk.logprobs)
        choice["finish_reason"] = chunk.finish_reason
        return f'{self._event_head}"choices":[{_json(choice)}]{self._tail}'.encode()

    def _last_events(self, prompt_tokens: int) -> bytes:
        if not self._include_usage:
            return DONE
        counts = _json(usage(prompt_tokens, sum(self._made.values())))
        return f'{self._event_head}"choices":[],"usage":{counts}}}\n\n'.encode() + DONE

    def body(self, chunks: list[Chunk]) -> bytes:
        """The whole answer, not streamed.

        Args:
            chunks: at least the last one of each choice, with its finish reason.
        """
        each = [[c for c in chunks if c.choice == choice] for choice in range(self.choices)]
        kind = "chat.completion" if self._chat else "text_completion"
        made = sum(ours[-1].completion_tokens for ours in each)
        whole = self._head | {
            "object": kind,
            "choices": [self._choice(choice, ours) for choice, ours in enumerate(each)],
            "usage": usage(each[0][-1].prompt_tokens, made),
        }
        return _json(whole).encode()

    def _choice(self, index: int, chunks: list[Chunk]) -> dict[str, Any]:
        text = "".join(chunk.text for chunk in chunks)
        entries = tuple(entry for chunk in chunks for entry in chunk.logprobs)
        calls = whole_calls([delta for chunk in chunks for delta in chunk.calls])
        choice: dict[str, Any] = {"index": index}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
            if calls:
                message |= {"content": text or None, "tool_calls": [_call(c) for c in calls]}
            choice["message"] = message
        else:
            choice["text"] = text
        choice["logprobs"] = self._describe(index, entries)
        choice["finish_reason"] = chunks[-1].finish_reason
        return choice

    def _describe(self, choice: int, entries: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        if self._chat:
            return {"content": [_chat_logprob(entry) for entry in entries], "refusal": None}
        offsets = []
        for entry in entries:
            offsets.append(self.offsets[choice])
            self.offsets[choice] += len(entry.token)
        return {
            "tokens": [entry.token for entry in entries],
            "token_logprobs": [entry.logprob for entry in entries],
            "top_logprobs": [dict(entry.top) for entry in entries],
            "text_offset": offsets,
        }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call_delta(delta: CallDelta) -> dict[str, Any]:
    if not delta.id:
        return {"index": delta.index, "function": {"arguments": delta.arguments}}
    return {"index": delta.index} | _call(ToolCall(delta.id, delta.name, delta.arguments))


def _chat_logprob(entry: TokenLogprob) -> dict[str, Any]:
    return _spelled(entry.token, entry.logprob) | {
        "top_logprobs": [_spelled(token, logprob) for token, logprob in entry.top]
    }


def _spelled(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def error_body(error: AigridError) -> bytes:
    """An error as the OpenAI API spells it."""
    described = {
        "message": str(error),
        "type": _error_type(error.http_status),
        "param": getattr(error, "param", None),
        "code": error.code,
    }
    return _json({"error": described}).encode()


def error_event(error: AigridError) -> bytes:
    """An error within a stream that has begun: one event, then the end."""
    return b"data: " + error_body(error) + b"\n\n" + DONE


def _error_type(status: int) -> str:
    named = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return named.get(status, "server_error" if status >= 500 else "invalid_request_error")
