"""The exported graph gives the logits of the checkpoint, however it is fed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aigrid.core.errors import ConfigurationError, DataError, IntegrityError
from aigrid.engines.decoder import Decoder
from aigrid.factory.graph import quantise_blocks
from aigrid.factory.quantise import FORMS, export

TOLERANCE = 2e-4


def reference(checkpoint: Path, tokens: list[int]) -> np.ndarray:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def some_tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(1, 300, count).tolist()


def open_decoder(model_dir: Path, slots: int = 4) -> Decoder:
    return Decoder(model_dir / "onnx" / "model.onnx", threads=1, slots=slots)


def test_scores_every_position_as_transformers_does(model_dir):
    tokens = some_tokens(40)
    np.testing.assert_allclose(
        open_decoder(model_dir).score(tokens), reference(model_dir, tokens), atol=TOLERANCE
    )


def test_prefill_in_pieces_equals_the_whole(model_dir):
    tokens, decoder = some_tokens(50), open_decoder(model_dir)
    decoder.prefill(2, tokens[:17], 0)
    decoder.prefill(2, tokens[17:30], 17)
    last = decoder.prefill(2, tokens[30:], 30)
    np.testing.assert_allclose(last, reference(model_dir, tokens)[-1], atol=TOLERANCE)


def test_rows_of_different_length_decode_together_as_alone(model_dir):
    decoder = open_decoder(model_dir)
    texts = [some_tokens(length, seed=length) for length in (3, 20, 41)]
    for slot, tokens in enumerate(texts):
        decoder.prefill(slot, tokens, 0)
    for step in range(4):
        fed = [7 + step, 90, 200 + step]
        logits = decoder.decode(fed, [len(t) for t in texts])
        for tokens, token, row in zip(texts, fed, logits, strict=True):
            tokens.append(token)
            np.testing.assert_allclose(row, reference(model_dir, tokens)[-1], atol=TOLERANCE)


def test_a_moved_slot_goes_on_where_it_was(model_dir):
    decoder, tokens = open_decoder(model_dir), some_tokens(30)
    decoder.prefill(3, tokens, 0)
    decoder.prefill(0, some_tokens(60, seed=9), 0)
    decoder.move(3, 0, len(tokens))
    logits = decoder.decode([5], [len(tokens)])[0]
    np.testing.assert_allclose(logits, reference(model_dir, [*tokens, 5])[-1], atol=TOLERANCE)


def test_an_untied_head_is_exported(tmp_path):
    from tests.engines.conftest import make_checkpoint

    checkpoint = make_checkpoint(tmp_path, tied=False)
    export(checkpoint, "fp32")
    tokens = some_tokens(12)
    np.testing.assert_allclose(
        open_decoder(checkpoint).score(tokens), reference(checkpoint, tokens), atol=TOLERANCE
    )


@pytest.mark.parametrize(("form", "least"), [("int8", 0.99), ("int4", 0.9)])
def test_quantised_forms_stay_close(checkpoint_copy, form, least):
    tokens = some_tokens(40)
    export(checkpoint_copy, form)
    got = open_decoder(checkpoint_copy).score(tokens)
    wanted = reference(checkpoint_copy, tokens)
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > least


@pytest.mark.parametrize("form", FORMS)
def test_the_same_weights_give_the_same_bytes(checkpoint_copy, form):
    first = export(checkpoint_copy, form).read_bytes()
    assert export(checkpoint_copy, form).read_bytes() == first
    assert [p.name for p in (checkpoint_copy / "onnx").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_unpack_to_nearly_the_weights(bits):
    weight = np.random.default_rng(1).standard_normal((6, 72)).astype(np.float32)
    weight[2, :32] = 0
    packed, scale = quantise_blocks(weight, bits)
    code = packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(6, 3, 32)
    restored = (code.astype(np.float32) - (1 << (bits - 1))) * scale[..., None]
    step = np.abs(scale).max()
    np.testing.assert_allclose(restored.reshape(6, -1)[:, :72], weight, atol=step)
    assert not restored[2, 0].any()


def test_unknown_form_is_refused(checkpoint_copy):
    with pytest.raises(ConfigurationError, match="'int3' is not known; use one of fp32, int8"):
        export(checkpoint_copy, "int3")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "gpt2"),
        ("attention_bias", True),
        ("hidden_act", "gelu"),
        ("rope_parameters", {"rope_type": "llama3", "rope_theta": 1e4}),
    ],
)
def test_other_architectures_are_refused_by_name(checkpoint_copy, key, value):
    path = checkpoint_copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    name = "rope_type" if key == "rope_parameters" else key
    with pytest.raises(ConfigurationError, match=name):
        export(checkpoint_copy, "fp32")


def test_broken_weights_are_refused(checkpoint_copy):
    (checkpoint_copy / "model.safetensors").write_bytes(b"\x08" * 100)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        export(checkpoint_copy, "fp32")


def test_a_missing_weight_is_named(checkpoint_copy):
    path = checkpoint_copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
    with pytest.raises(DataError, match=r"model\.layers\.2\."):
        export(checkpoint_copy, "fp32")


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        open_decoder(tmp_path)
