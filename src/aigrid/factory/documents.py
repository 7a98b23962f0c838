"""Documents: what every source gives and everything after it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aigrid.core.errors import DataError

MIN_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of text that stands for itself.

    Attributes:
        name: unique in its corpus; the order of documents is the order of their names.
        text: as plain text.
        exchanges: the same matter as chat turns.
        group: documents of one group are held out together; by default each its own.
    """

    name: str
    text: str
    exchanges: tuple[Exchange, ...] = ()
    group: str = ""

    @property
    def unit(self) -> str:
        """What is held out or learnt as a whole."""
        return self.group or self.name


@dataclass(frozen=True, slots=True)
class Corpus:
    """All documents of a source, and what was left out.

    Attributes:
        system: a system turn that fits the exchanges.
        left_out: reason to count, e.g. `binary` to 3.
    """

    documents: tuple[Document, ...]
    origin: str
    system: str
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def text_bytes(self) -> int:
        """UTF-8 length of all plain text."""
        return sum(len(d.text.encode()) for d in self.documents)

    def digest(self) -> str:
        """SHA-256 over names and contents, whatever folder they lay in."""
        total = hashlib.sha256()
        for document in self.documents:
            parts = [document.name, document.text]
            parts += [part for e in document.exchanges for part in (e.question, e.answer)]
            for part in parts:
                total.update(hashlib.sha256(part.encode()).digest())
        return "sha256:" + total.hexdigest()


def check_enough(corpus: Corpus) -> Corpus:
    """The corpus, if there is anything to learn from.

    Raises:
        DataError: no usable text, or too little to learn from and hold some out.
    """
    left_out = ", ".join(f"{count} {reason}" for reason, count in corpus.left_out) or "nothing"
    if corpus.text_bytes < MIN_BYTES or len({d.unit for d in corpus.documents}) < 2:
        raise DataError(
            f"{corpus.origin}: {corpus.text_bytes} bytes of usable text in "
            f"{len(corpus.documents)} documents (left out: {left_out})",
            next_step=f"give at least {MIN_BYTES} bytes of UTF-8 text in two documents or more",
        )
    return corpus


def split(
    documents: Sequence[Document], fraction: float, seed: int
) -> tuple[list[Document], list[Document]]:
    """Hold out whole units, chosen by chance from `seed`, about `fraction` of the bytes.

    Returns:
        Documents to learn from and documents held out, each in the order of their names.
    """
    units = sorted({d.unit for d in documents})
    size = dict.fromkeys(units, 0)
    for document in documents:
        size[document.unit] += len(document.text)
    wanted = fraction * sum(size.values())
    held: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(units)):
        if len(held) >= len(units) - 1 or sum(size[u] for u in held) >= wanted:
            break
        # A unit that would overshoot by far stays in training, unless nothing is held out yet.
        if not held or sum(size[u] for u in held) + size[units[index]] <= 1.5 * wanted:
            held.add(units[index])
    ordered = sorted(documents, key=lambda d: d.name)
    return [d for d in ordered if d.unit not in held], [d for d in ordered if d.unit in held]
