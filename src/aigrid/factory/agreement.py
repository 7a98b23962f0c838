"""Whether an exported encoder says what its checkpoint says: the evaluation card of an import.

Measured with the very engine code that sites run, one text at a time, against torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import DataError
from aigrid.factory.documents import Document
from aigrid.factory.encoder import Encoder, EncoderWeights
from aigrid.factory.progress import Progress
from aigrid.factory.sentences import SentenceModel

TEXTS = 120
LEAST_TEXTS = 8
LONGEST_CHARACTERS = 2000
Matrix = NDArray[np.float64]


def texts_of(documents: Sequence[Document]) -> list[str]:
    """Paragraphs of some documents, spread over all of them; at most `TEXTS`.

    Raises:
        DataError: too few to say anything.
    """
    parts = (part.strip() for d in documents for part in d.text.split("\n\n"))
    found = sorted({part[:LONGEST_CHARACTERS] for part in parts if part})
    if len(found) < LEAST_TEXTS:
        raise DataError(
            f"{len(found)} paragraphs to compare by",
            next_step=f"give {LEAST_TEXTS} or more with --data FILE_OR_DIR",
        )
    step = max(1.0, len(found) / TEXTS)
    return [found[int(at * step)] for at in range(min(TEXTS, len(found)))]


def measure(
    model: SentenceModel,
    weights: EncoderWeights,
    package: Path,
    texts: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """Compare a package's vectors with its checkpoint's.

    Args:
        model: the checkpoint.
        weights: of it.
        package: folder with the exported graph.
        texts: to compare by; cut to the context where they are longer.
        progress: hears a stage `measuring`.

    Returns:
        the cosine between both vectors of a text; how far cosines between two texts move; and the
        share of texts whose nearest other text stays the same.
    """
    from aigrid.engines.encoder import Encoder as Graph

    graph, reference = Graph(package, threads=1), Encoder(model.shape, weights)
    theirs, ours, tokens = [], [], 0
    progress.stage("measuring", len(texts))
    for text in texts:
        ids = graph.tokens(text)[: model.context_tokens]
        tokens += len(ids)
        hidden = reference.hidden(ids).numpy()
        theirs.append(hidden.mean(0) if model.pooling == "mean" else hidden[0])
        ours.append(graph.encode([ids])[0])
        progress.advance(1)
    figures = compare(_unit(np.stack(theirs)), _unit(np.stack(ours)))
    digest = hashlib.sha256("\x00".join(texts).encode()).hexdigest()
    return {"texts": len(texts), "tokens": tokens, "texts_digest": f"sha256:{digest}"} | figures


def compare(theirs: Matrix, ours: Matrix) -> dict[str, Any]:
    """Figures of two sets of unit vectors, [texts, width] each."""
    cosines = (theirs * ours).sum(1)
    near, here = theirs @ theirs.T, ours @ ours.T
    moved = np.abs(near - here)
    for matrix in (near, here):
        np.fill_diagonal(matrix, -np.inf)
    same = near.argmax(1) == here.argmax(1)
    return {
        "cosine": {
            "mean": round(float(cosines.mean()), 6),
            "least": round(float(cosines.min()), 6),
        },
        "pair_cosine_moved": {
            "mean": round(float(moved.mean()), 6),
            "most": round(float(moved.max()), 6),
        },
        "nearest_text_same": round(float(same.mean()), 4),
    }


def _unit(vectors: NDArray[np.float32]) -> Matrix:
    wide = vectors.astype(np.float64)
    unit: Matrix = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit
