"""Between text and tokens: byte-level tokenizer, UTF-8 put together by token, stop strings."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders

from aigrid.core.errors import ConfigurationError, IntegrityError


def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable character (the GPT-2 alphabet)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return alphabet | {chr(256 + rank): byte for rank, byte in enumerate(others)}


class Vocabulary:
    """A package's `tokenizer.json`: text to ids, ids to bytes.

    Attributes:
        source: the file's text.
        size: ids, from 0.
        longest_token_bytes: of the longest.

    Raises:
        IntegrityError: the file is missing or no tokenizer.
        ConfigurationError: a tokenizer that is not byte-level BPE.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.source = path.read_text(encoding="utf-8")
            self._tokenizer = Tokenizer.from_str(self.source)
        except Exception as error:  # tokenizers raises plain Exception
            raise IntegrityError(
                f"{path}: cannot be loaded: {error}", next_step="pull or make the package again"
            ) from error
        if not isinstance(self._tokenizer.decoder, decoders.ByteLevel):
            raise ConfigurationError(
                f"{path}: decoder is {type(self._tokenizer.decoder).__name__}",
                next_step="the embedded engine reads byte-level BPE tokenizers",
            )
        self._bytes = self._table()
        self.size = len(self._bytes)
        self.longest_token_bytes = max(map(len, self._bytes), default=1) or 1

    def _table(self) -> list[bytes]:
        alphabet = _byte_alphabet()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        table = [b""] * (max(vocabulary.values(), default=-1) + 1)
        added = self._tokenizer.get_added_tokens_decoder()
        for token, index in vocabulary.items():
            if index not in added:
                table[index] = bytes(alphabet[c] for c in token if c in alphabet)
        for index, extra in added.items():
            table[index] = b"" if extra.special else extra.content.encode()
        return table

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Ids of a text; `special` adds what the tokenizer puts around a plain text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def token_id(self, token: str) -> int | None:
        """The id of a token by its spelling."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def spelling(self, token: int) -> str:
        """A token for a reader: special ones by name, broken UTF-8 with replacement characters."""
        raw = self.bytes_of(token)
        return raw.decode(errors="replace") if raw else self._tokenizer.id_to_token(token) or ""

    def bytes_of(self, token: int) -> bytes:
        """The bytes that a token adds to an answer; none for special ones."""
        return self._bytes[token] if token < len(self._bytes) else b""


class AnswerText:
    """The text of one answer as its tokens come.

    Holds back bytes that do not yet make a character and text that may yet become a stop string.

    Attributes:
        stopped: a stop string has been met; nothing comes after.
    """

    __slots__ = ("_held", "_stop", "_utf8", "_vocabulary", "stopped")

    def __init__(self, vocabulary: Vocabulary, stop: tuple[str, ...]) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token; the text that can be shown now."""
        text = self._utf8.decode(self._vocabulary.bytes_of(token))
        return self._release(text) if self._stop else text

    def finish(self) -> str:
        """The rest, when no token will come: held text, a broken character as U+FFFD."""
        if self.stopped:
            return ""
        text = self._utf8.decode(b"", final=True)
        shown = (self._release(text) if self._stop else text) + ("" if self.stopped else self._held)
        self._held = ""
        return shown

    def _release(self, text: str) -> str:
        text = self._held + text
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        hold = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


def end_tokens(model_dir: Path) -> frozenset[int]:
    """Ids that end an answer: `generation_config.json` where it names them, else `config.json`.

    Raises:
        ConfigurationError: a file that is not JSON.
    """
    found: Any = None
    for name in ("generation_config.json", "config.json"):
        path = model_dir / name
        if found is None and path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
            except (OSError, ValueError, AttributeError) as error:
                raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    ids = found if isinstance(found, list) else [found]
    return frozenset(int(i) for i in ids if i is not None)
