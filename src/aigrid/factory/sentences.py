"""What a sentence-transformers folder says of its model: the encoder, how it pools, how it ends.

The layout: https://sbert.net/docs/sentence_transformer/usage/custom_models.html. Settings that
would change the vectors and are not built are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError
from aigrid.factory.encoder_graph import POOLINGS
from aigrid.factory.encoder_shape import EncoderShape, read_json

_POOLING_KEYS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_NEXT = "give the folder of a sentence-transformers checkpoint"


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A checkpoint as its own files describe it.

    Attributes:
        folder: of the checkpoint.
        encoder: folder of the transformer's files, often the same.
        shape: of the encoder.
        pooling: one of `POOLINGS`.
        normalise: whether vectors have length 1.
        context_tokens: of a text, what the tokenizer puts around it included.
    """

    folder: Path
    encoder: Path
    shape: EncoderShape
    pooling: str
    normalise: bool
    context_tokens: int

    @classmethod
    def read(cls, folder: Path) -> SentenceModel:
        """Read a checkpoint's description.

        Raises:
            ConfigurationError: it is none, or asks for what is not built; names file and value.
        """
        modules = _modules(folder / "modules.json")
        kinds = [str(m.get("type", "")).rpartition(".")[2] for m in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise ConfigurationError(
                f"{folder / 'modules.json'}: modules are {', '.join(kinds) or 'none'}",
                next_step="Transformer, Pooling and Normalize are built, in this order",
            )
        encoder = folder / str(modules[0].get("path", ""))
        _refuse_prompts(folder / "config_sentence_transformers.json")
        shape = EncoderShape.read(encoder / "config.json")
        return cls(
            folder=folder,
            encoder=encoder,
            shape=shape,
            pooling=_pooling(folder / str(modules[1].get("path", "")) / "config.json"),
            normalise=len(modules) > 2,
            context_tokens=_context_tokens(encoder / "sentence_bert_config.json", shape),
        )


def _modules(path: Path) -> list[dict[str, Any]]:
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}", next_step=_NEXT) from error
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise ConfigurationError(f"{path}: not a list of modules", next_step=_NEXT)
    return modules


def _pooling(path: Path) -> str:
    raw = read_json(path)
    if "pooling_mode" in raw:  # newer checkpoints name it
        named = {str(raw["pooling_mode"])}
    else:
        chosen = [key for key, on in raw.items() if key.startswith("pooling_mode_") and on]
        named = {_POOLING_KEYS.get(key, key) for key in chosen}
    if len(named) != 1 or not named <= set(POOLINGS):
        raise ConfigurationError(
            f"{path}: pooling is {', '.join(sorted(named)) or 'none'}",
            next_step=f"one of {', '.join(POOLINGS)} is built",
        )
    return named.pop()


def _context_tokens(path: Path, shape: EncoderShape) -> int:
    raw = read_json(path) if path.exists() else {}
    if raw.get("do_lower_case"):
        raise ConfigurationError(
            f"{path}: do_lower_case is true", next_step="put it into tokenizer.json's normaliser"
        )
    limit = raw.get("max_seq_length")
    if limit is None:
        return shape.positions
    if type(limit) is not int or not 1 <= limit <= shape.positions:
        raise ConfigurationError(
            f"{path}: max_seq_length is {limit!r}", next_step=f"give 1 to {shape.positions}"
        )
    return limit


def _refuse_prompts(path: Path) -> None:
    name = read_json(path).get("default_prompt_name") if path.exists() else None
    if name is not None:
        raise ConfigurationError(
            f"{path}: default_prompt_name is {name!r}",
            next_step="set it to null, and have clients put the prompt before their texts",
        )
