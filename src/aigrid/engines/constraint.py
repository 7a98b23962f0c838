"""Constrained decoding: which tokens may come next, by llguidance (decision 0235).

A grammar is compiled once and kept; each answer goes on from a copy of its beginning.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError, InvalidRequestError, OverloadedError
from aigrid.engines.shape import CLOSE_CALL, OPEN_CALL, Shape

GRAMMAR_LIMIT_BYTES = 64 * 1024
COMPILE_LIMIT_S = 5.0
COMPILE_LINE = 16
KEPT_GRAMMARS = 32
CALLS_LIMIT = 8
_PLACE = re.compile(r"^at \d+\(\d+\): (?:failed to compile JSON schema: )?")
# One way to write each value: a model that likes spaces would never come to the end of them.
_FORM = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": False,
}
# Fuel of one compilation and of one step: some 1 s and 4 ms at the worst.
_LIMITS = LLParserLimits(
    initial_lexer_fuel=200_000,
    step_lexer_fuel=50_000,
    step_max_items=20_000,
    max_lexer_states=50_000,
    verbose_errors=False,
)


class ConstraintError(InvalidRequestError):
    """No answer of this shape can be made."""


class Constraint:
    """One answer on its way through a grammar."""

    __slots__ = ("_mask", "_matcher")

    def __init__(self, matcher: LLMatcher, mask: NDArray[np.int32]) -> None:
        self._matcher, self._mask = matcher, mask

    @property
    def complete(self) -> bool:
        """Nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The logits with those of tokens that must not come next at minus infinity.

        Args:
            logits: float32 [vocab]; left as they are.

        Raises:
            ConstraintError: nothing may come next: the grammar is too complex to go on.
        """
        fill_next_token_bitmask(self._matcher, self._mask)
        bits = np.unpackbits(self._mask[0].view(np.uint8), count=len(logits), bitorder="little")
        if self._matcher.is_error() or not bits.any():
            raise self._stuck()
        masked: NDArray[np.floating[Any]] = np.where(bits.view(np.bool_), logits, -np.inf)
        return masked

    def take(self, token: int) -> None:
        """The token that was chosen, or delivered before.

        Raises:
            ConstraintError: it must not come here.
        """
        if not self._matcher.consume_token(token):
            raise self._stuck()

    def copy(self) -> Constraint:
        """The same state, to go on from."""
        return Constraint(self._matcher.deep_copy(), np.copy(self._mask))

    def _stuck(self) -> ConstraintError:
        said = self._matcher.get_error().strip().splitlines()
        return ConstraintError(
            f"the answer cannot go on within its schema: {said[0] if said else 'a dead end'}",
            next_step="simplify the schema",
        )


class Grammars:
    """Compiles for one engine, in a thread of its own; the same for many at once.

    Args:
        tokenizer: text of `tokenizer.json`.
        vocab_size: of the logits.
        eos: ids that end an answer.

    Raises:
        ConfigurationError: llguidance cannot use the tokenizer.
    """

    def __init__(self, tokenizer: str, vocab_size: int, eos: frozenset[int]) -> None:
        ends = sorted(eos) or None
        try:
            self._tokenizer = LLTokenizer(tokenizer, n_vocab=vocab_size, eos_token=ends)
        except ValueError as error:
            raise ConfigurationError(f"tokenizer.json: no grammars for it: {error}") from error
        self._vocab_size = vocab_size
        self._kept: OrderedDict[str, Constraint] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "grammars")
        self._work: dict[str, asyncio.Future[Constraint]] = {}

    async def constrain(self, grammar: str) -> Constraint:
        """The beginning of an answer within a Lark grammar.

        Raises:
            InvalidRequestError: too long, or cannot be compiled; with llguidance's reason.
            OverloadedError: too many wait to be compiled.
        """
        if grammar not in self._kept:
            if len(grammar.encode()) > GRAMMAR_LIMIT_BYTES:
                raise InvalidRequestError(
                    f"the schema has over {GRAMMAR_LIMIT_BYTES} bytes", next_step="shorten it"
                )
            found = await self._compiled(grammar)
            self._kept[grammar] = found
            if len(self._kept) > KEPT_GRAMMARS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(grammar)
        return self._kept[grammar].copy()

    async def _compiled(self, grammar: str) -> Constraint:
        work = self._work.get(grammar)
        if work is None:
            if len(self._work) >= COMPILE_LINE:
                raise OverloadedError(f"{len(self._work)} schemas wait", next_step="try again")
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._thread, self._compile, grammar)
            self._work[grammar] = work
            work.add_done_callback(partial(self._compiled_one, grammar))
        try:
            async with asyncio.timeout(COMPILE_LIMIT_S):
                return await asyncio.shield(work)
        except TimeoutError:
            raise InvalidRequestError(
                f"the schema was not compiled within {COMPILE_LIMIT_S:.0f} s",
                next_step="simplify it, or try again when the site is less busy",
            ) from None

    def _compiled_one(self, grammar: str, work: asyncio.Future[Constraint]) -> None:
        del self._work[grammar]
        if not work.cancelled():
            work.exception()  # seen, even where nobody waits for it any more

    def _compile(self, grammar: str) -> Constraint:
        """A matcher whose first mask is made: the costly part of it."""
        lark = LLMatcher.grammar_from_lark(grammar)
        matcher = LLMatcher(self._tokenizer, lark, limits=_LIMITS, log_level=0)
        if matcher.is_error():
            raise _refusal(matcher.get_error())
        made = Constraint(matcher, allocate_token_bitmask(1, self._vocab_size))
        try:
            made.allowed(np.zeros(self._vocab_size, np.float32))
        except ConstraintError as error:
            raise _refusal(error.message) from error
        return made

    def close(self) -> None:
        """Compile no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _refusal(reason: str) -> InvalidRequestError:
    """A regex error shows the pattern, marks a place in it, and only then says what is wrong."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
    said = next((line for line in lines if line.startswith("error: ")), lines[0])
    return InvalidRequestError(
        f"the schema cannot be compiled: {_PLACE.sub('', said)[:300]}",
        next_step="see docs/API.md for what a schema may hold",
    )


def grammar_of(shape: Shape, *, tagged: bool) -> str:
    """The Lark grammar of an answer; empty where any text will do.

    Args:
        shape: of the answer.
        tagged: whether the model puts calls between `<tool_call>` and `</tool_call>`.
    """
    if shape.calls == "none":
        return "" if shape.schema is None else f"start: {_json(shape.schema)}\n"
    rules = [
        f"call{number}: {_text(_head(name))} {_json(parameters)} {_text('}')}"
        for number, (name, parameters) in enumerate(shape.callable().items())
    ]
    one = " | ".join(f"call{number}" for number in range(len(rules)))
    return "\n".join([_start(shape, tagged), f"one: {one}", *rules, ""])


def _start(shape: Shape, tagged: bool) -> str:
    if not tagged:
        return "start: one"
    close = _text("\n" + CLOSE_CALL)
    if shape.calls == "auto":
        times = "*" if shape.parallel_tool_calls else "?"
        start = f"start: (text call){times} tail\ncall: {_text(chr(10))} one {close}\n"
        return start + f"text[stop={_text(OPEN_CALL)}]: /(.|\\n)*/\ntail: /(.|\\n)*/"
    more = f' ("\\n" call){{0,{CALLS_LIMIT - 1}}}' if shape.parallel_tool_calls else ""
    more = "" if shape.named else more
    return f"start: call{more}\ncall: {_text(OPEN_CALL + chr(10))} one {close}"


def _head(name: str) -> str:
    return f'{{"name": "{name}", "arguments": '


def _text(text: str) -> str:
    return json.dumps(text)


def _json(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "%json " + json.dumps(schema)
    try:
        return "%json " + json.dumps(schema | {"x-guidance": _FORM})
    except RecursionError as error:
        raise InvalidRequestError("the schema is nested too deeply") from error
