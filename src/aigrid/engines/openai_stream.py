"""A streamed OpenAI answer, line by line, back into chunks."""

from __future__ import annotations

import json
from typing import Any

from aigrid.core.errors import UnavailableError
from aigrid.engines.engine import Chunk, TokenLogprob
from aigrid.engines.shape import CallDelta


class StreamReader:
    """Feeds on the lines of a server-sent event stream.

    Attributes:
        done: `[DONE]` has come.
    """

    def __init__(self, *, chat: bool) -> None:
        self.done = False
        self._chat = chat
        self._made = 0
        self._finish_reason: str | None = None
        self._usage: tuple[int, int] | None = None

    def feed(self, line: bytes) -> list[Chunk]:
        """Read one line.

        Returns:
            The chunk it carries, if any; the last chunk comes from `last_chunk`.

        Raises:
            UnavailableError: the stream is broken, or carries an error.
        """
        if not line.startswith(b"data:"):
            return []
        payload = line[5:].strip()
        if payload == b"[DONE]":
            self.done = True
            return []
        try:
            event = json.loads(payload)
            return self._read(event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnavailableError(
                f"upstream sent an event that cannot be read: {payload[:80]!r}",
                next_step="look at the upstream server",
            ) from error

    def last_chunk(self) -> Chunk:
        """The end of the answer, with token counts.

        Raises:
            UnavailableError: the stream ended before the answer did.
        """
        if self._finish_reason is None:
            raise UnavailableError(
                "the upstream's stream ended before its answer", next_step="try again"
            )
        prompt_tokens, made = self._usage or (0, self._made)
        return Chunk("", prompt_tokens, made, self._finish_reason)

    def _read(self, event: dict[str, Any]) -> list[Chunk]:
        if event.get("error"):
            raise UnavailableError(f"upstream: {str(event['error'])[:200]}", next_step="try again")
        if event.get("usage"):
            counts = event["usage"]
            self._usage = (int(counts["prompt_tokens"]), int(counts["completion_tokens"]))
        chunks: list[Chunk] = []
        for choice in (event.get("choices") or [])[:1]:
            text = (choice.get("delta") or {}).get("content") if self._chat else choice.get("text")
            logprobs = _logprobs(choice.get("logprobs"), self._chat)
            calls = _calls(choice.get("delta")) if self._chat else ()
            if text or logprobs or calls:
                self._made += len(logprobs) or 1
                chunks.append(Chunk(str(text or ""), 0, self._made, None, logprobs, (), calls))
            if reason := choice.get("finish_reason"):
                self._finish_reason = reason if reason in ("length", "tool_calls") else "stop"
        return chunks


def _calls(delta: dict[str, Any] | None) -> tuple[CallDelta, ...]:
    """Pieces of tool calls."""
    return tuple(
        CallDelta(
            int(call["index"]),
            str((call.get("function") or {}).get("arguments") or ""),
            str(call.get("id") or ""),
            str((call.get("function") or {}).get("name") or ""),
        )
        for call in (delta or {}).get("tool_calls") or ()
    )


def _logprobs(raw: dict[str, Any] | None, chat: bool) -> tuple[TokenLogprob, ...]:
    """Upstream token ids are not in the protocol; they are given as -1."""
    if not raw:
        return ()
    if chat:
        return tuple(
            TokenLogprob(
                entry["token"],
                -1,
                float(entry["logprob"]),
                tuple((t["token"], float(t["logprob"])) for t in entry.get("top_logprobs") or []),
            )
            for entry in raw.get("content") or []
        )
    tops = raw.get("top_logprobs") or [{}] * len(raw["tokens"])
    return tuple(
        TokenLogprob(token, -1, float(logprob or 0.0), tuple((top or {}).items()))
        for token, logprob, top in zip(raw["tokens"], raw["token_logprobs"], tops, strict=True)
    )
