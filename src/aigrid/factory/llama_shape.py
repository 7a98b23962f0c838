"""The sizes of a Llama checkpoint, and the refusal of what only looks like one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The part of `config.json` that decides the graph; names as Hugging Face spells them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool

    @classmethod
    def read(cls, path: Path) -> LlamaShape:
        """Read a checkpoint's `config.json`.

        Raises:
            ConfigurationError: unreadable, or an architecture that this exporter does not build.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: cannot be read: {error}") from error
        _refuse_other_architectures(raw, path)
        rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
        heads = int(raw["num_attention_heads"])
        return cls(
            hidden_size=int(raw["hidden_size"]),
            intermediate_size=int(raw["intermediate_size"]),
            num_hidden_layers=int(raw["num_hidden_layers"]),
            num_attention_heads=heads,
            num_key_value_heads=int(raw.get("num_key_value_heads") or heads),
            head_dim=int(raw.get("head_dim") or raw["hidden_size"] // heads),
            vocab_size=int(raw["vocab_size"]),
            max_position_embeddings=int(raw["max_position_embeddings"]),
            rms_norm_eps=float(raw["rms_norm_eps"]),
            rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0),
            tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        )


def _refuse_other_architectures(raw: dict[str, Any], path: Path) -> None:
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    expected = {
        "model_type": (raw.get("model_type"), "llama"),
        "hidden_act": (raw.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(raw.get("attention_bias", False)), False),
        "mlp_bias": (bool(raw.get("mlp_bias", False)), False),
        "rope_type": (rope.get("rope_type", "default"), "default"),
    }
    for key, (value, wanted) in expected.items():
        if value != wanted:
            raise ConfigurationError(
                f"{path}: {key} is {value!r}", next_step=f"the exporter builds {wanted!r} only"
            )
    required = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "vocab_size", "max_position_embeddings", "rms_norm_eps",
    )  # fmt: skip
    for key in required:
        if key not in raw:
            raise ConfigurationError(
                f"{path}: no key {key!r}", next_step="give a Llama config.json"
            )
