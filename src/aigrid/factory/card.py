"""The evaluation card: what the model is worth, the same for the same inputs.

Time and machine are not in it; they stand in the run record, outside the digested package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.factory.documents import Corpus, Document
from aigrid.factory.evaluation import (
    BitsPerByte,
    Scorer,
    bits_per_byte,
    byte_trigram_nats,
    compressor_bits_per_byte,
    document_nats,
    limited,
)
from aigrid.factory.recipe import Recipe
from aigrid.factory.tokenizer import Encoder
from aigrid.factory.training import TrainingRun

LAST_STEPS = 20


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out documents in tokens and bytes."""

    documents: tuple[Document, ...]
    tokens: tuple[list[int], ...]
    context: int
    seed: int

    @classmethod
    def of(cls, documents: Sequence[Document], encoder: Encoder, recipe: Recipe) -> HeldOut:
        """Encode what is measured of the held-out documents."""
        chosen = limited(documents)
        tokens = encoder.texts([d.text for d in chosen])
        return cls(tuple(chosen), tuple(tokens), recipe.model.context, recipe.seed)

    @property
    def sizes(self) -> list[int]:
        """UTF-8 bytes of each document."""
        return [len(d.text.encode()) for d in self.documents]

    def measure(self, scorer: Scorer) -> BitsPerByte:
        """Bits per byte of a model; predicting the end of each document is part of its bits."""
        return bits_per_byte(
            document_nats(scorer, self.tokens, self.context), self.sizes, self.seed
        )


def rivals(train: Sequence[Document], held: HeldOut) -> dict[str, Any]:
    """What simple methods get on the same bytes after the same training text."""
    learnt = "\n\n".join(d.text for d in train).encode()
    texts = [d.text.encode() for d in held.documents]
    trigram = bits_per_byte(byte_trigram_nats(learnt, texts), held.sizes, held.seed)
    return {
        "byte_trigram": trigram.to_dict(),
        "xz": {"bits_per_byte": round(compressor_bits_per_byte(learnt, texts), 6)},
    }


def evaluation_card(
    recipe: Recipe,
    corpus: Corpus,
    held: HeldOut,
    run: TrainingRun,
    figures: dict[str, BitsPerByte],
    baselines: dict[str, Any],
    parameters: int,
) -> dict[str, Any]:
    """Put the card together.

    Args:
        recipe: what was made.
        corpus: the text it was made of.
        held: the documents that were measured.
        run: losses and tokens of the training.
        figures: by form, `model` and the quantised one.
        baselines: see `rivals`.
        parameters: weights of the model.
    """
    model, quantised = figures["model"], figures[recipe.package.form]
    return {
        "model": recipe.name,
        "version": recipe.version,
        "measure": "bits per byte of held-out plain text, lower is better",
        "held_out": model.to_dict(),
        "held_out_unit": "file" if any(d.group for d in held.documents) else "document",
        "quantised": {
            "form": recipe.package.form,
            **quantised.to_dict(),
            "lost_bits_per_byte": round(quantised.value - model.value, 6),
        },
        "baselines": baselines,
        "parameters": parameters,
        "tokens_seen": run.tokens,
        "final_training_loss_nats": round(float(np.mean(run.losses[-LAST_STEPS:])), 6),
        "text_bytes": corpus.text_bytes,
        "documents": len(corpus.documents),
        "left_out": dict(corpus.left_out),
    }


def onnx_scorer(path: Path, threads: int) -> Scorer:
    """Scores with the graph that the embedded engine will run."""
    from aigrid.engines.decoder import Decoder

    graph = Decoder(path, threads=threads, slots=1)

    def score(windows: Sequence[Sequence[int]]) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        return [_token_logs(graph.score(list(w)), w) for w in windows]

    return score


def _token_logs(
    logits: np.ndarray[Any, np.dtype[np.float32]], window: Sequence[int]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = logits[:-1].astype(np.float64)
    peak = rows.max(axis=1)
    total = peak + np.log(np.exp(rows - peak[:, None]).sum(axis=1))
    chosen: np.ndarray[Any, np.dtype[np.float64]] = (
        rows[np.arange(len(rows)), list(window[1:])] - total
    )
    return chosen
