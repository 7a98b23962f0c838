"""How good a model is: bits per byte on documents it has never seen, and what simple rivals get."""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.factory.documents import Document

Nats = NDArray[np.float64]
# Takes windows of token ids; gives for each the natural log-probability of every token but the
# first, given those before it in the window.
Scorer = Callable[[Sequence[Sequence[int]]], list[Nats]]

RESAMPLES = 2_000
MAX_HELD_OUT_BYTES = 100_000
MAX_DOCUMENT_BYTES = 6_000
MAX_LEARNT_BYTES = 8_000_000
TRIGRAM_WEIGHTS = (0.6, 0.28, 0.11)
BYTES = 256


@dataclass(frozen=True, slots=True)
class BitsPerByte:
    """A figure with its 95% interval from resampling whole documents.

    Attributes:
        value: bits for all documents over bytes of all documents; lower is better.
        low: 2.5th percentile of the resampled figure.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float
    documents: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the evaluation card."""
        return {
            "bits_per_byte": round(self.value, 6),
            "interval_95": [round(self.low, 6), round(self.high, 6)],
            "documents": self.documents,
            "bytes": self.bytes,
        }


def bits_per_byte(nats: Sequence[float], sizes: Sequence[int], seed: int) -> BitsPerByte:
    """Turn losses of whole documents into bits per byte.

    Bits per byte is sum(nats) / ln 2 / sum(bytes): it does not depend on the tokenizer. The
    interval is a percentile bootstrap of the ratio over documents (Efron 1979), since tokens of
    one document are not independent.

    Args:
        nats: summed negative log-likelihood of each document.
        sizes: UTF-8 bytes of each document.
        seed: of the resampling.
    """
    loss, size = np.asarray(nats, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(loss), size=(RESAMPLES, len(loss)))
    resampled = loss[picks].sum(axis=1) / size[picks].sum(axis=1) / math.log(2)
    low, high = np.percentile(resampled, [2.5, 97.5])
    value = loss.sum() / size.sum() / math.log(2)
    return BitsPerByte(float(value), float(low), float(high), len(loss), int(size.sum()))


def document_nats(scorer: Scorer, documents: Sequence[Sequence[int]], context: int) -> list[float]:
    """Summed negative log-likelihood of token sequences that may be longer than the context.

    Windows overlap by half, so that a token past the first window has at least half a context
    before it; each token counts once.
    """
    windows: list[Sequence[int]] = []
    owner: list[tuple[int, int]] = []
    for index, tokens in enumerate(documents):
        for start, fresh in _window_starts(len(tokens), context):
            windows.append(tokens[start : start + context])
            owner.append((index, fresh))
    totals = [0.0] * len(documents)
    for (index, fresh), scores in zip(owner, scorer(windows), strict=True):
        totals[index] -= float(scores[len(scores) - fresh :].sum()) if fresh else 0.0
    return totals


def _window_starts(length: int, context: int) -> list[tuple[int, int]]:
    """Starts of windows and how many tokens at the end of each have not been counted yet."""
    starts = [(0, min(length, context) - 1)]
    counted = min(length, context)
    while counted < length:
        end = min(length, counted + context // 2)
        starts.append((max(0, end - context), end - counted))
        counted = end
    return starts


def limited(documents: Sequence[Document]) -> list[Document]:
    """What is measured of the held-out documents: the first 6 kB of each, up to 100 kB in all.

    Many beginnings tell more than a few whole documents: the interval comes from the documents.
    """
    chosen: list[Document] = []
    left = MAX_HELD_OUT_BYTES
    for document in documents:
        text = document.text.encode()[: min(left, MAX_DOCUMENT_BYTES)].decode(errors="ignore")
        if text:
            chosen.append(Document(document.name, text, document.exchanges, document.group))
        left -= len(text.encode())
    return chosen


def byte_trigram_nats(train: bytes, texts: Sequence[bytes]) -> list[float]:
    """Loss of an interpolated byte trigram that learnt from the same text: a floor to beat."""
    data = np.frombuffer(train[:MAX_LEARNT_BYTES], dtype=np.uint8).astype(np.int64)
    one = np.bincount(data, minlength=BYTES).astype(np.float64)
    two = np.bincount(data[:-1] * BYTES + data[1:], minlength=BYTES**2).astype(np.float64)
    code = (data[:-2] * BYTES + data[1:-1]) * BYTES + data[2:]
    three = np.bincount(code, minlength=BYTES**3)
    p1 = one / one.sum()
    p2 = two.reshape(BYTES, BYTES) / np.maximum(1, two.reshape(BYTES, BYTES).sum(1))[:, None]
    before = three.reshape(-1, BYTES).sum(1)
    losses = []
    for text in texts:
        b = np.frombuffer(b"\n\n" + text, dtype=np.uint8).astype(np.int64)
        pair = b[:-2] * BYTES + b[1:-1]
        p3 = three[pair * BYTES + b[2:]] / np.maximum(1, before[pair])
        mixed = TRIGRAM_WEIGHTS[0] * p3 + TRIGRAM_WEIGHTS[1] * p2[b[1:-1], b[2:]]
        mixed = mixed + TRIGRAM_WEIGHTS[2] * p1[b[2:]]
        rest = 1.0 - sum(TRIGRAM_WEIGHTS)
        losses.append(float(-np.log(mixed + rest / BYTES).sum()))
    return losses


def compressor_bits_per_byte(train: bytes, texts: Sequence[bytes]) -> float:
    """Bits a byte that xz needs for the held-out text once it has seen the training text."""
    train, held = train[:MAX_LEARNT_BYTES], b"\n\n".join(texts)
    alone = len(lzma.compress(train, preset=6))
    together = len(lzma.compress(train + held, preset=6))
    return 8.0 * (together - alone) / len(held)
