"""What a site adds to an answer for its gateway alone, as comments of the event stream.

A comment line before an event says which tokens it carries, so that the gateway can have the answer
continued elsewhere. The gateway takes these lines out again (comments: WHATWG HTML, "Server-sent
events", section 9.2.5). The words:

    : package DIGEST                              whose tokens these are
    : t CHOICE PROMPT_TOKENS MADE TOKEN...        before an event: its tokens, and the count so far
    : at CHOICE OFFSET                            characters of logprobs' tokens so far
    : part JSON                                   chunks of an answer that is not streamed
    : alive                                       nothing to say, but here
    : moved REASON                                the site cannot go on, others can
    : refused STATUS                              before an error body: nobody can
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FRAMED_HEADER = "x-aigrid-framed"
USAGE_HEADER = "x-aigrid-usage"
PACKAGE_HEADER = "x-aigrid-package"
RESUME_PATH = "/site/v1/resume"
ALIVE = b": alive\n\n"
BLOCK_LIMIT_BYTES = 64 * 1024 * 1024
_CREATED = re.compile(rb'"created":(\d+)')
_INDEX = re.compile(rb'"index":(\d+)')
_FINISH = b'"finish_reason":"'
_DONE = b"data: [DONE]"


def tokens_line(choice: int, prompt_tokens: int, made: int, tokens: Sequence[int]) -> bytes:
    """The comment that names an event's tokens."""
    return b": t %d %d %d" % (choice, prompt_tokens, made) + b"".join(
        b" %d" % token for token in tokens
    ) + b"\n"  # fmt: skip


def offset_line(choice: int, offset: int) -> bytes:
    """The comment that says where the next token's text begins."""
    return b": at %d %d\n" % (choice, offset)


def package_line(digest: str) -> bytes:
    """The comment that names the package that answers."""
    return b": package " + digest.encode() + b"\n"


def part_block(part: bytes) -> bytes:
    """Some of an answer that is not streamed."""
    return b": part " + part + b"\n\n"


def moved_block(reason: str) -> bytes:
    """The end of a site's part of an answer that is to go on elsewhere."""
    return b": moved " + " ".join(reason.split()).encode() + b"\n\n"


def refused_block(status: int, body: bytes) -> bytes:
    """The end of an answer that no site can give."""
    return b": refused %d\ndata: " % status + body + b"\n\n"


@dataclass(slots=True)
class Choice:
    """One of the answers to a request, as far as the client has it.

    Attributes:
        tokens: that it has.
        made: tokens that the site counted.
        offset: characters of the logprobs' tokens.
        finished: its finish reason was said.
    """

    tokens: list[int] = field(default_factory=list)
    made: int = 0
    offset: int = 0
    finished: bool = False


@dataclass(slots=True)
class Relay:
    """One answer on its way to a client, over as many sites as it takes.

    Attributes:
        choices: what the client has of each.
        parts: of an answer that is not streamed, as sites wrote them.
        package: digest whose tokens they are.
        prompt_tokens: as sites count them.
        created_s: of the answer, as its first event said.
        moved: why the site gave it up; empty while it goes on.
        refused: status of a refusal; 0 for none.
        begun: the client has something of it, or would have.
        ended: the client has the whole answer.
        known: every event with text named its tokens, so that it can be continued.
        sites: that it took.
    """

    choices: dict[int, Choice] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    package: str = ""
    prompt_tokens: int = 0
    created_s: int = 0
    moved: str = ""
    refused: int = 0
    begun: bool = False
    ended: bool = False
    known: bool = True
    sites: int = 1
    _rest: bytes = b""

    def feed(self, piece: bytes) -> bytes:
        """Take in what a site sent; what goes out to the client: whole events only."""
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        return b"".join([self._block(block) for block in blocks])

    @property
    def overlong(self) -> bool:
        """Whether a site sends an event without end."""
        return len(self._rest) > BLOCK_LIMIT_BYTES

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices that the client has."""
        return sum(choice.made for choice in self.choices.values())

    def next_site(self) -> None:
        """What the broken site had not finished is forgotten."""
        self._rest, self.moved = b"", ""
        self.sites += 1

    def resume_body(self, path: str, body: bytes) -> bytes:
        """The request that has a site go on with this answer."""
        count = max(self.choices, default=-1) + 1
        choices = [self.choices.get(index) or Choice() for index in range(count)]
        asked = {
            "path": path,
            "request": body.decode(),
            "package": self.package,
            "created_s": self.created_s,
            "choices": [{"tokens": c.tokens, "offset": c.offset} for c in choices],
            "parts": [part.decode() for part in self.parts],
        }
        return json.dumps(asked).encode()

    def _block(self, block: bytes) -> bytes:
        named = False
        while block.startswith(b":"):
            comment, _, block = block.partition(b"\n")
            named = self._comment(comment[2:]) or named
        if not block:
            return b""
        self.begun = True
        if not self.created_s and (found := _CREATED.search(block)):
            self.created_s = int(found[1])
        if not named and self.known:
            self.known = not _says_text(block)
        if _FINISH in block and self._is_repeated_finish(block):
            return b""
        self.ended = self.ended or block.startswith(_DONE)
        return block + b"\n\n"

    def _comment(self, comment: bytes) -> bool:
        """Heed a comment; whether it names tokens."""
        word, _, rest = comment.partition(b" ")
        if word == b"t":
            choice, self.prompt_tokens, made, *tokens = map(int, rest.split())
            held = self._choice(choice)
            held.made = made
            held.tokens += tokens
            return bool(tokens)
        if word == b"package":
            self.package = rest.decode()
        elif word == b"at":
            choice, offset = map(int, rest.split())
            self._choice(choice).offset = offset
        elif word == b"part":
            self.parts.append(rest)
            self.begun = True
            self.known = self.known and b'"tokens":[]' not in rest
        elif word == b"moved":
            self.moved = rest.decode(errors="replace") or "moved"
        elif word == b"refused":
            self.refused = int(rest)
        return False

    def _choice(self, index: int) -> Choice:
        return self.choices.setdefault(index, Choice())

    def _is_repeated_finish(self, block: bytes) -> bool:
        """Whether a choice ends that has ended: its site died before the events that follow."""
        found = _INDEX.search(block)
        choice = self._choice(int(found[1]) if found else 0)
        repeated, choice.finished = choice.finished, True
        return repeated


def _says_text(block: bytes) -> bool:
    """Whether an event carries text; the role, the end and the usage do not."""
    if block.startswith(_DONE):
        return False
    try:
        choices: list[dict[str, Any]] = json.loads(block.removeprefix(b"data: ")).get("choices", [])
    except (ValueError, AttributeError):
        return True
    deltas = [choice.get("delta") or choice for choice in choices]
    return any(d.get("content") or d.get("text") or d.get("tool_calls") for d in deltas)
