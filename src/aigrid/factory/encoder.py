"""A BERT or RoBERTa encoder in torch: what the exported graph is measured against.

Written after "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805) and the
checkpoint layout of Hugging Face; tests hold it against `transformers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aigrid.core.errors import DataError
from aigrid.factory.encoder_shape import EncoderShape
from aigrid.factory.graph import Array

if TYPE_CHECKING:
    import torch


class EncoderWeights:
    """Weights of a checkpoint by the part that they belong to, float32.

    Raises:
        DataError: they cannot be read, or one is missing or of the wrong shape.
    """

    def __init__(self, path: Path, shape: EncoderShape) -> None:
        import torch  # noqa: F401  safetensors reads bfloat16 through torch
        from safetensors import SafetensorError, safe_open

        self._path, self._shape = path, shape
        try:
            with safe_open(path, framework="pt") as file:
                held = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{path}: weights cannot be read: {error}",
                next_step="give a checkpoint with model.safetensors",
            ) from error
        prefix = f"{shape.model_type.replace('-', '_')}."
        self._held = {
            name.removeprefix(prefix).removeprefix("roberta."): t for name, t in held.items()
        }

    @property
    def count(self) -> int:
        """Parameters, the pooler of next-sentence prediction and the like left out."""
        used = ("embeddings.", "encoder.")
        return sum(t.numel() for name, t in self._held.items() if name.startswith(used))

    def tensor(self, name: str, *size: int) -> torch.Tensor:
        """One weight of a known size."""
        found = self._held.get(name)
        if found is None or tuple(found.shape) != size:
            shape = None if found is None else tuple(found.shape)
            raise DataError(
                f"{self._path}: weight {name} has shape {shape}, expected {size}",
                next_step="config.json and model.safetensors must belong together",
            )
        return found

    def array(self, name: str, *size: int) -> Array:
        """The same for numpy."""
        values: Array = self.tensor(name, *size).numpy()
        return values

    def table(self, name: str) -> torch.Tensor:
        """Rows of one of the embedding tables; the first token type's alone."""
        wide = self._shape.hidden_size
        kinds = {"word": self._shape.vocab_size, "position": self._shape.max_position_embeddings}
        full = f"embeddings.{name}_embeddings.weight"
        rows = kinds.get(name) or len(self._held.get(full, ()))
        return self.tensor(full, rows, wide)


class Encoder:
    """Runs texts one by one, so that no padding can blur the reference.

    Args:
        shape: of the checkpoint.
        weights: of it.
    """

    def __init__(self, shape: EncoderShape, weights: EncoderWeights) -> None:
        self._shape, self._weights = shape, weights

    def hidden(self, tokens: Sequence[int]) -> torch.Tensor:
        """Last hidden states of a text, float32 [len(tokens), hidden_size]."""
        import torch

        with torch.inference_mode():
            state = self._embed(torch.tensor(tokens))
            for layer in range(self._shape.num_hidden_layers):
                state = self._layer(f"encoder.layer.{layer}", state)
            return state

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        first, weights = self._shape.first_position, self._weights
        places = weights.table("position")[first : first + len(ids)]
        summed = weights.table("word")[ids] + places + weights.table("token_type")[0]
        return self._norm("embeddings.LayerNorm", summed)

    def _layer(self, prefix: str, state: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import gelu, scaled_dot_product_attention

        wide, inner = self._shape.hidden_size, self._shape.intermediate_size
        heads = self._shape.num_attention_heads
        query, key, value = (
            self._linear(f"{prefix}.attention.self.{part}", state, wide, wide)
            .view(len(state), heads, -1)
            .transpose(0, 1)
            for part in ("query", "key", "value")
        )
        mixed = scaled_dot_product_attention(query, key, value).transpose(0, 1).reshape(-1, wide)
        mixed = self._linear(f"{prefix}.attention.output.dense", mixed, wide, wide)
        state = self._norm(f"{prefix}.attention.output.LayerNorm", state + mixed)
        grown = gelu(self._linear(f"{prefix}.intermediate.dense", state, inner, wide))
        shrunk = self._linear(f"{prefix}.output.dense", grown, wide, inner)
        return self._norm(f"{prefix}.output.LayerNorm", state + shrunk)

    def _linear(self, name: str, value: torch.Tensor, outs: int, ins: int) -> torch.Tensor:
        from torch.nn.functional import linear

        weight, bias = f"{name}.weight", f"{name}.bias"
        return linear(
            value, self._weights.tensor(weight, outs, ins), self._weights.tensor(bias, outs)
        )

    def _norm(self, name: str, value: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        wide = self._shape.hidden_size
        gain = self._weights.tensor(f"{name}.weight", wide)
        bias = self._weights.tensor(f"{name}.bias", wide)
        return layer_norm(value, (wide,), gain, bias, self._shape.layer_norm_eps)
