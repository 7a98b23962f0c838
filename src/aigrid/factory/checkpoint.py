"""Write and read a Hugging Face checkpoint of the decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.factory.decoder import Decoder
from aigrid.factory.recipe import ModelDials
from aigrid.factory.staging import write_file
from aigrid.factory.tokenizer import BOS, END, token_id, tokenizer_config, tokenizer_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPERATURE, TOP_P = 0.6, 0.9


def pretty_json(value: Any) -> bytes:
    """JSON for people, always spelt the same."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_checkpoint(folder: Path, decoder: Decoder, tokenizer: Tokenizer) -> None:
    """Write `config.json`, `model.safetensors`, the tokenizer and `generation_config.json`.

    Raises:
        StorageError: a file cannot be written; it names the path and the bytes needed.
    """
    from safetensors.torch import save

    bos, end = token_id(tokenizer, BOS), token_id(tokenizer, END)
    weights = {name: w.detach().contiguous() for name, w in decoder.state_dict().items()}
    generation = {
        "bos_token_id": bos,
        "eos_token_id": end,
        "pad_token_id": end,
        "do_sample": True,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
    }
    write_file(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
    write_file(folder / "config.json", pretty_json(decoder.config(bos, end)))
    write_file(folder / "tokenizer.json", tokenizer_json(tokenizer))
    config = tokenizer_config(decoder.dials.context)
    write_file(folder / "tokenizer_config.json", pretty_json(config))
    write_file(folder / "generation_config.json", pretty_json(generation))


def read_checkpoint(folder: Path) -> Decoder:
    """Our decoder with the weights of a checkpoint that we wrote."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    dials = ModelDials(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        context=config["max_position_embeddings"],
    )
    decoder = Decoder(dials, config["vocab_size"])
    decoder.load_state_dict(load_file(folder / "model.safetensors"))
    return decoder
