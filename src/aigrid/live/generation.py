"""One answer at a site: events for a client, framed for the gateway that carries it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from aigrid.core.errors import AigridError, InvalidRequestError, UnavailableError
from aigrid.engines import openai_answers
from aigrid.engines.engine import Chunk
from aigrid.live import frames
from aigrid.live.pump import Pump

LOOK_S = 0.1
LOOKS_TO_ALIVE = 4
# 404: the site no longer, or not yet, serves what the routing table says it does.
MOVABLE = (404, 429, 500, 502, 503, 504, 507)
_PART = TypeAdapter(list[Chunk])


@dataclass(slots=True)
class Generation:
    """Turns an engine's chunks into an answer.

    Attributes:
        answer: writes it.
        pump: of the engine's chunks.
        package: digest for the frames; empty for a client that knows no frames.
        must_move: says why the answer shall go on elsewhere; asked again and again.
        gone_on: whether the client has the beginning already.
        chunks: of a stream the first; of an answer that is not streamed all so far.
    """

    answer: openai_answers.Answer
    pump: Pump
    package: str
    must_move: Callable[[], str]
    gone_on: bool = False
    chunks: list[Chunk] = field(default_factory=list)
    _tokens: dict[int, list[int]] = field(default_factory=dict)
    _ends: dict[int, Chunk] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the last chunk of every choice was read."""
        return len(self._ends) == self.answer.choices

    async def read(self, within_s: float, *, whole: bool) -> bool:
        """Read the first chunk, or all; whether it was done within so many seconds.

        Raises:
            AigridError: what the engine says to the job.
            UnavailableError: the site wants to be rid of it.
        """
        until_s = time.monotonic() + within_s
        while not self.complete and time.monotonic() < until_s:
            if reason := self.must_move():
                raise UnavailableError(reason)
            chunk = await self.pump.next(LOOK_S)
            if chunk is not None:
                self._note(chunk)
                self.chunks.append(chunk)
                if not whole:
                    return True
        return self.complete

    async def events(self) -> AsyncIterator[bytes]:
        """The stream."""
        try:
            if self.package:
                yield frames.package_line(self.package) + b"\n"
            if early := b"".join(map(self._event, self.chunks)):
                yield early
            self.chunks.clear()
            moved = False
            while not (self.complete or moved):
                piece = await self._next()
                if isinstance(piece, Chunk):
                    piece = self._event(piece)
                else:
                    moved = piece is not frames.ALIVE
                if piece:
                    yield piece
        except AigridError as error:
            yield self._broken(error)
        finally:
            await self.pump.close()

    async def whole(self) -> AsyncIterator[bytes]:
        """An answer that is not streamed, for a gateway: its parts as they come, then the body."""
        told = 0
        try:
            yield frames.package_line(self.package) + b"\n"
            while not self.complete:
                piece = await self._next()
                if isinstance(piece, Chunk):
                    self.chunks.append(piece)
                    if len(self.chunks) - told < LOOKS_TO_ALIVE:
                        continue
                elif piece is not frames.ALIVE:
                    yield write_parts(self.chunks[told:]) + piece
                    return
                yield write_parts(self.chunks[told:]) or frames.ALIVE
                told = len(self.chunks)
            lines = [
                frames.tokens_line(choice, last.prompt_tokens, last.completion_tokens, ())
                for choice, last in self._ends.items()
            ]
            yield b"".join(lines) + b"data: " + self.answer.body(self.chunks) + b"\n\n"
        except AigridError as error:
            yield self._broken(error)
        finally:
            await self.pump.close()

    def usage(self) -> str:
        """Prompt and completion tokens of a complete answer, as the usage header has them."""
        made = sum(last.completion_tokens for last in self._ends.values())
        return f"{self._ends[0].prompt_tokens} {made}"

    def _note(self, chunk: Chunk) -> None:
        if chunk.finish_reason is not None:
            self._ends[chunk.choice] = chunk

    async def _next(self) -> Chunk | bytes:
        """The next chunk, or what is to be told meanwhile to a gateway that can heed it."""
        looks = 0
        while True:
            if self.package and (reason := self.must_move()):
                return frames.moved_block(reason)
            chunk = await self.pump.next(LOOK_S)
            if chunk is not None:
                self._note(chunk)
                return chunk
            looks += 1
            if looks == LOOKS_TO_ALIVE and self.package:
                return frames.ALIVE

    def _event(self, chunk: Chunk) -> bytes:
        """A chunk's event; what precedes all text goes with the first."""
        event, head = self.answer.event(chunk), b""
        if event and not self.gone_on:
            head, self.gone_on = self.answer.first_event(), True
        if not self.package:
            return head + event
        choice, tokens = chunk.choice, self._tokens.setdefault(chunk.choice, [])
        tokens += chunk.tokens
        if not event:
            return b""
        lines = frames.tokens_line(choice, chunk.prompt_tokens, chunk.completion_tokens, tokens)
        tokens.clear()
        if offset := self.answer.offsets[choice]:
            lines += frames.offset_line(choice, offset)
        return head + lines + event

    def _broken(self, error: AigridError) -> bytes:
        if not self.package:
            return openai_answers.error_event(error)
        if error.http_status in MOVABLE:
            return frames.moved_block(error.message)
        return frames.refused_block(error.http_status, openai_answers.error_body(error))


def write_parts(chunks: list[Chunk]) -> bytes:
    """Chunks as frames, one a choice; nothing where they say nothing."""
    each: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        each.setdefault(chunk.choice, []).append(chunk)
    return b"".join(map(_write_part, each.values()))


def _write_part(chunks: list[Chunk]) -> bytes:
    one = replace(
        chunks[-1],
        text="".join(chunk.text for chunk in chunks),
        logprobs=tuple(entry for chunk in chunks for entry in chunk.logprobs),
        tokens=tuple(token for chunk in chunks for token in chunk.tokens),
        calls=tuple(delta for chunk in chunks for delta in chunk.calls),
    )
    if not (one.text or one.tokens or one.calls or one.logprobs):
        return b""
    return frames.part_block(json.dumps(asdict(one), separators=(",", ":")).encode())


def read_parts(parts: list[str]) -> list[Chunk]:
    """What `write_parts` wrote at other sites.

    Raises:
        InvalidRequestError: something else.
    """
    try:
        return _PART.validate_python([json.loads(part) for part in parts])
    except (ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InvalidRequestError(f"resume: a part is no chunk: {reason}") from error
