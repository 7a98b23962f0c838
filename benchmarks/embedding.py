"""The embedding engine against a bare ONNX Runtime loop over the same file, in one run.

The bare loop has its texts sorted by length and cut into the same batches beforehand: it only runs
the graph. What the engine adds is reading the texts, choosing the batches, and delivery. The model
has the shape of all-MiniLM-L6-v2 and random weights: speed does not depend on them. Texts are 1 to
60 words, as sentences and short paragraphs are. Seconds are of processor time, all threads of this
process together: what one whole core would do, whatever else runs on it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import string
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.engines.embedder import STEP_TOKENS, EmbeddingEngine
from aigrid.engines.embedding import EmbeddingJob
from aigrid.engines.encoder import Encoder
from aigrid.factory.encoder_graph import FORMS, EncoderGraph
from aigrid.factory.encoder_shape import EncoderShape
from benchmarks._rows import entry

_row = partial(entry, "embedding")

SHAPE = EncoderShape("bert", 384, 1536, 6, 12, 30522, 512, 1e-12)
ROUNDS = 3
TEXTS = 64
LEAST_RATIO = 0.9
MAX_BATCH = 32


class RandomWeights:
    """Weights of the right sizes, in place of a checkpoint's."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def array(self, name: str, *size: int) -> NDArray[np.float32]:
        """See `EncoderWeights.array`."""
        return self._rng.normal(0.0, 0.05, size).astype(np.float32)

    def table(self, name: str) -> Any:
        """See `EncoderWeights.table`."""
        import torch

        rows = {"word": SHAPE.vocab_size, "position": SHAPE.max_position_embeddings}
        return torch.from_numpy(self.array(name, rows.get(name, 2), SHAPE.hidden_size))


def _package(folder: Path, form: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    meta = {"form": form, "context_tokens": "256", "vocab_size": str(SHAPE.vocab_size)}
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    graph = EncoderGraph(SHAPE, RandomWeights(), "mean", form)  # type: ignore[arg-type]
    path.write_bytes(graph.build(meta | {"normalise": "true", "dimensions": ""}))
    pieces = ["[UNK]", *string.ascii_lowercase, *(f"##{x}" for x in string.ascii_lowercase)]
    model = models.WordPiece({p: at for at, p in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))


def _texts() -> list[str]:
    rng = np.random.default_rng(2)
    letters = np.array(list(string.ascii_lowercase))
    return [" ".join(rng.choice(letters, rng.integers(1, 61))) for _ in range(TEXTS)]


def _bare(encoder: Encoder, batches: list[list[list[int]]]) -> float:
    """Texts a second of CPU; their batches are made beforehand."""
    began_s = time.process_time()
    for texts in batches:
        encoder.encode(texts)
    return sum(map(len, batches)) / (time.process_time() - began_s)


def _batches(ids: list[list[int]]) -> list[list[list[int]]]:
    """Sorted by length, the longest first, as many as the engine would take at once."""
    left, made = sorted(ids, key=len), []
    while left:
        count = max(1, min(MAX_BATCH, STEP_TOKENS // len(left[-1])))
        made.append(left[-count:])
        del left[-count:]
    return made


async def _engine(engine: EmbeddingEngine, jobs: list[list[str]]) -> float:
    began_s = time.process_time()
    await asyncio.gather(*(engine.embed(EmbeddingJob("b", tuple(job))) for job in jobs))
    return sum(map(len, jobs)) / (time.process_time() - began_s)


async def _measure(folder: Path, form: str) -> list[dict[str, Any]]:
    _package(folder, form)
    texts = _texts()
    encoder = Encoder(folder, threads=1)
    batches = _batches([encoder.tokens(text) for text in texts])
    engine = EmbeddingEngine.open(folder, max_batch=MAX_BATCH)
    ways = {"one request": [texts], f"{TEXTS} requests": [[text] for text in texts]}
    theirs: list[float] = []
    ours: dict[str, list[float]] = {way: [] for way in ways}
    try:
        _bare(encoder, batches)
        for _ in range(ROUNDS):  # alternating, so that a slow spell of the machine hits all
            theirs.append(_bare(encoder, batches))
            for way, jobs in ways.items():
                ours[way].append(await _engine(engine, jobs))
    finally:
        await engine.close()
    load = f"bare loop {statistics.median(theirs):.0f}; load {os.getloadavg()[0]:.1f}"
    return [row for way in ways for row in _rows(form, way, theirs, ours[way], load)]


def _rows(
    form: str, way: str, theirs: list[float], ours: list[float], note: str
) -> list[dict[str, Any]]:
    ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    speed = statistics.median(ours)
    limit = f">= {LEAST_RATIO}"
    verdict = "won" if ratio >= LEAST_RATIO else "lost"
    return [
        _row(f"sentences a second of CPU, {form}, {way}", speed, "1/s", "", "", note),
        _row(f"engine over bare loop, {form}, {way}", ratio, "ratio", limit, verdict, note),
    ]


def run() -> list[dict[str, Any]]:
    """Rows of the table that `make bench` prints."""
    rows = []
    for form in FORMS[:2]:
        with tempfile.TemporaryDirectory() as folder:
            rows += asyncio.run(_measure(Path(folder), form))
    return rows
