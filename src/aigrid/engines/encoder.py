"""A text encoder on ONNX Runtime, and the tokenizer that belongs to it.

The graph is the factory's (see `aigrid.factory.encoder_graph`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from aigrid.core.errors import ConfigurationError, IntegrityError
from aigrid.engines.embedding import InputError, Vectors
from aigrid.engines.sessions import open_session

NORM_FLOOR = 1e-12  # as torch's `normalize`


class Encoder:
    """Token ids in, vectors out; used from one thread.

    Args:
        model_dir: holds `tokenizer.json` and `onnx/model.onnx`.
        threads: threads inside one operator.

    Attributes:
        context_tokens: of a text, at most.
        width: numbers of a whole vector.
        dimensions: to which vectors may be cut, the whole included.

    Raises:
        IntegrityError: a file is missing or broken.
        ConfigurationError: a graph that the factory did not make, or files that do not belong
            together.
    """

    def __init__(self, model_dir: Path, *, threads: int) -> None:
        path = model_dir / "onnx" / "model.onnx"
        self._session = open_session(path, threads)
        meta = self._session.get_modelmeta().custom_metadata_map
        names = [i.name for i in self._session.get_inputs()]
        if names != ["input_ids", "attention_mask"] or "context_tokens" not in meta:
            raise ConfigurationError(
                f"{path}: not an encoder graph of the aigrid factory",
                next_step="make the package with `aigrid factory import`",
            )
        self.context_tokens = int(meta["context_tokens"])
        self.vocab_size = int(meta["vocab_size"])
        self.width = int(self._session.get_outputs()[0].shape[1])
        self.dimensions = {self.width, *map(int, meta.get("dimensions", "").split())}
        self._normalise = meta["normalise"] == "true"
        self._tokenizer = _tokenizer(model_dir / "tokenizer.json", self.vocab_size)

    def tokens(self, text: str) -> list[int]:
        """Ids of a text, with what the tokenizer puts around it; neither padded nor cut."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def check(self, at: int, ids: Sequence[int]) -> None:
        """Refuse the ids of input number `at` where the model cannot read them.

        Raises:
            InputError: too many, or one outside the vocabulary.
        """
        if not 1 <= len(ids) <= self.context_tokens:
            raise InputError(
                f"input {at} has {len(ids)} tokens, the model reads 1 to {self.context_tokens}",
                next_step="cut it into shorter inputs",
            )
        if not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise InputError(
                f"input {at} has token ids from {min(ids)} to {max(ids)}",
                next_step=f"give ids from 0 to {self.vocab_size - 1}",
            )

    def check_dimensions(self, wanted: int | None) -> None:
        """Refuse a width that the model was not trained for.

        Raises:
            InputError: it is none of `dimensions`.
        """
        if wanted is not None and wanted not in self.dimensions:
            known = ", ".join(map(str, sorted(self.dimensions)))
            raise InputError(
                f"dimensions is {wanted}, this model makes {known}",
                param="dimensions",
                next_step="leave it out or give one of these",
            )

    def encode(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of some texts in one step, whole and not normalised.

        Args:
            texts: token ids, each checked.

        Returns:
            float32 [len(texts), width].
        """
        longest = max(map(len, texts))
        ids = np.zeros((len(texts), longest), np.int64)
        mask = np.zeros((len(texts), longest), np.int32)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        vectors: Vectors = self._session.run(["sentence_embedding"], feed)[0]
        return vectors

    def finish(self, vectors: Vectors, dimensions: int | None) -> Vectors:
        """Cut vectors to their first numbers, and make their length 1 where the model's is."""
        cut = vectors[:, : dimensions or self.width]
        if not self._normalise:
            return cut
        length = np.linalg.norm(cut, axis=1, keepdims=True)
        unit: Vectors = cut / np.maximum(length, NORM_FLOOR)
        return unit


def _tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise IntegrityError(
            f"{path}: cannot be loaded: {error}", next_step="pull or make the package again"
        ) from error
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if highest >= vocab_size:
        raise ConfigurationError(
            f"{path} has ids up to {highest} and the model knows {vocab_size} tokens",
            next_step="make the package again: its files do not belong together",
        )
    tokenizer.no_truncation()  # checkpoints bring settings of their training
    tokenizer.no_padding()
    return tokenizer
