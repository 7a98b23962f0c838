"""Tool calls in a model's text, as its grammar has it write them (see `constraint.grammar_of`)."""

from __future__ import annotations

import re

from aigrid.engines.shape import CLOSE_CALL, OPEN_CALL, CallDelta

_HEAD = re.compile(r'\s*\{"name": "([A-Za-z0-9_-]+)", "arguments": ')


class CallReader:
    """Text in, text and pieces of calls out.

    Args:
        tagged: calls stand between `<tool_call>` and `</tool_call>`; else the text is one call.
        prefix: of the ids of calls, which are the same wherever the answer is made.

    Attributes:
        begun: calls that have begun.
    """

    def __init__(self, *, tagged: bool, prefix: str) -> None:
        self.begun = 0
        self._tagged, self._prefix = tagged, prefix
        self._state = "text" if tagged else "head"
        self._held = ""
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, text: str) -> tuple[str, list[CallDelta]]:
        """What the text adds to the answer's text, and to its calls."""
        self._held += text
        shown, deltas = "", []
        while True:
            before = (self._state, self._held)
            if self._state == "text":
                shown += self._read_text()
            elif self._state == "head":
                deltas += self._read_head()
            elif self._state == "arguments":
                deltas += self._read_arguments()
            else:
                self._read_tail()
            if (self._state, self._held) == before or not self._held:
                return shown, deltas

    def finish(self) -> str:
        """Text that was held back as a call's possible beginning, when nothing will come."""
        held = self._held if self._state == "text" else ""
        self._held = ""
        return held

    def _read_text(self) -> str:
        before, mark, after = self._held.partition(OPEN_CALL)
        if mark:
            self._state, self._held = "head", after
        else:
            keep = next(n for n in range(len(OPEN_CALL) - 1, -1, -1) if _ends(before, n))
            before, self._held = before[: len(before) - keep], before[len(before) - keep :]
        return before if before.strip() or not self.begun else ""

    def _read_head(self) -> list[CallDelta]:
        found = _HEAD.match(self._held)
        if found is None:
            return []
        self._state, self._held = "arguments", self._held[found.end() :]
        self.begun += 1
        index = self.begun - 1
        return [CallDelta(index, "", f"{self._prefix}_{index}", found[1])]

    def _read_arguments(self) -> list[CallDelta]:
        end = self._end_of_value()
        arguments, self._held = self._held[:end], self._held[end:]
        return [CallDelta(self.begun - 1, arguments)] if arguments else []

    def _end_of_value(self) -> int:
        """Where the arguments' object closes, or all that is held."""
        for place, letter in enumerate(self._held):
            if self._in_string:
                self._in_string = self._escaped or letter != '"'
                self._escaped = letter == "\\" and not self._escaped
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if not self._depth:
                    self._state = "tail"
                    return place + 1
        return len(self._held)

    def _read_tail(self) -> None:
        end = f"}}\n{CLOSE_CALL}" if self._tagged else "}"
        if self._held.startswith(end):
            self._held = self._held[len(end) :]
            self._state = "text" if self._tagged else "over"


def _ends(text: str, length: int) -> bool:
    return text.endswith(OPEN_CALL[:length])
