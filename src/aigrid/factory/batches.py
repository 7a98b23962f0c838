"""From documents to batches: shuffled, packed end to end, cut into windows of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aigrid.factory.documents import Document
from aigrid.factory.tokenizer import Encoder

Tokens = NDArray[np.int32]
Turns = list[tuple[str, str]]
SYSTEM_SHARE = 0.2
MAX_EXCHANGES = 3
PORTION = 64


def conversations(
    documents: Sequence[Document], system: str, rng: np.random.Generator
) -> list[Turns]:
    """Every exchange once, one to three neighbours a conversation, some behind a system turn."""
    made: list[Turns] = []
    for document in documents:
        left = list(document.exchanges)
        while left:
            count = int(rng.choice([1, 1, 1, 2, MAX_EXCHANGES]))
            turns: Turns = [("system", system)] if rng.random() < SYSTEM_SHARE else []
            for exchange in left[:count]:
                turns += [("user", exchange.question), ("assistant", exchange.answer)]
            made.append(turns)
            del left[:count]
    return made


def sequences(
    documents: Sequence[Document], system: str, encoder: Encoder, rng: np.random.Generator
) -> list[Tokens]:
    """All that is learnt from, as token sequences: the documents and the conversations of them."""
    texts = [d.text for d in documents]
    talks = conversations(documents, system, rng)
    encoded: list[Tokens] = []
    # in portions: lists of Python integers take ten times the room of the arrays
    for start in range(0, len(texts), PORTION):
        encoded += map(_compact, encoder.texts(texts[start : start + PORTION]))
    for start in range(0, len(talks), PORTION):
        encoded += map(_compact, encoder.conversations(talks[start : start + PORTION]))
    return encoded


def _compact(tokens: list[int]) -> Tokens:
    return np.array(tokens, dtype=np.int32)


def batches(
    pieces: Sequence[Tokens], batch: int, context: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Endless batches; each pass over the pieces has a new order.

    Yields:
        Tokens and their successors, each int64 [batch, context].
    """
    rows = _windows(pieces, context, rng)
    while True:
        block = np.stack([next(rows) for _ in range(batch)]).astype(np.int64)
        yield block[:, :-1], block[:, 1:]


def _windows(pieces: Sequence[Tokens], context: int, rng: np.random.Generator) -> Iterator[Tokens]:
    rest = np.zeros(0, dtype=np.int32)
    while True:
        order = rng.permutation(len(pieces))
        stream = np.concatenate([rest, *(pieces[i] for i in order)])
        cut = (len(stream) - 1) // context
        starts = rng.permutation(cut) * context
        for start in starts:
            yield stream[start : start + context + 1]
        rest = stream[cut * context :]
