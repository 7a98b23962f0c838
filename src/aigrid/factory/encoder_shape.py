"""The sizes of a text encoder's checkpoint, and the refusal of what only looks like one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError

# How many positions a family leaves out at the front (RoBERTa counts from behind its padding id).
FAMILIES = {"bert": 0, "roberta": 2, "xlm-roberta": 2}
_REQUIRED = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "vocab_size", "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The part of `config.json` that decides the graph; names as Hugging Face spells them.

    Attributes:
        model_type: one of `FAMILIES`.
    """

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    layer_norm_eps: float

    @property
    def first_position(self) -> int:
        """Row of the position table that the first token of a text takes."""
        return FAMILIES[self.model_type]

    @property
    def positions(self) -> int:
        """Tokens of a text, at most."""
        return self.max_position_embeddings - self.first_position

    @classmethod
    def read(cls, path: Path) -> EncoderShape:
        """Read a checkpoint's `config.json`.

        Raises:
            ConfigurationError: unreadable, or an architecture that this exporter does not build.
        """
        raw = read_json(path)
        _refuse_other_architectures(raw, path)
        try:
            return cls(
                model_type=str(raw["model_type"]),
                **{key: int(raw[key]) for key in _REQUIRED[:-1]},
                layer_norm_eps=float(raw["layer_norm_eps"]),
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{path}: not a size: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        ConfigurationError: it is missing, or something else.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error}",
            next_step="give the folder of a sentence-transformers checkpoint",
        ) from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: a {type(raw).__name__}, not a JSON object")
    return raw


def _refuse_other_architectures(raw: dict[str, Any], path: Path) -> None:
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise ConfigurationError(
            f"{path}: model_type is {family!r}",
            next_step=f"the exporter builds {', '.join(FAMILIES)}",
        )
    expected = {
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "pad_token_id": 1 if FAMILIES[family] else raw.get("pad_token_id"),
    }
    for key, wanted in expected.items():
        value = raw.get(key, wanted)
        if value != wanted:
            raise ConfigurationError(
                f"{path}: {key} is {value!r}", next_step=f"the exporter builds {wanted!r} only"
            )
    for key in _REQUIRED:
        if key not in raw:
            raise ConfigurationError(
                f"{path}: no key {key!r}", next_step=f"give the config.json of a {family} encoder"
            )
