"""A Hugging Face Llama checkpoint becomes the ONNX graph that the embedded engine runs.

The graph is built node by node, so that it needs no tracing, its bytes repeat, and every input is
there for a reason:

    input_ids              [batch, step]                tokens of this step
    seqlens_k              [batch]                      tokens of each row after this step, less one
    total_sequence_length  [1]                          the longest of them
    logit_rows             [rows]                       rows of [batch * step] that need logits
    past_key_values.N.*    [batch, kv_heads, past, head_dim]

    logits                 [rows, vocab]
    present.N.*            [batch, kv_heads, total, head_dim]

`seqlens_k` differs from row to row, so streams of different length share a step; past and present
may be one buffer, so nothing is copied; `logit_rows` spares the widest product for all positions
but those that choose a token, and asks for all of them where a text is scored.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.core.errors import ConfigurationError, DataError, StorageError
from aigrid.factory.graph import CONTRIB, Array, Graph
from aigrid.factory.llama_shape import LlamaShape

FORMS = ("fp32", "int8", "int4")
DEFAULT = "int8"


def export(model_dir: Path, form: str = DEFAULT) -> Path:
    """Write `onnx/model.onnx` beside a checkpoint; the same weights give the same bytes.

    Args:
        model_dir: holds `config.json` and `model.safetensors`.
        form: one of `FORMS`: `fp32`, or weights of 8 or 4 bits in blocks of 32 with a scale each.

    Returns:
        The path of the graph.

    Raises:
        ConfigurationError: an unknown form, or an architecture other than Llama.
        DataError: the weights cannot be read, or one is missing or of the wrong shape.
        StorageError: the graph cannot be written.
    """
    if form not in FORMS:
        raise ConfigurationError(
            f"quantised form {form!r} is not known", next_step=f"use one of {', '.join(FORMS)}"
        )
    shape = LlamaShape.read(model_dir / "config.json")
    content = _Graph(shape, _read_weights(model_dir / "model.safetensors"), form).build()
    return _write_aside(model_dir / "onnx" / "model.onnx", content)


def _read_weights(path: Path) -> dict[str, Array]:
    import torch  # noqa: F401  safetensors reads bfloat16 through torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float().numpy() for name in sorted(file.keys())}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: weights cannot be read: {error}") from error


def _write_aside(path: Path, content: bytes) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error}") from error
    return path


class _Graph(Graph):
    """One decoder."""

    def __init__(self, shape: LlamaShape, weights: dict[str, Array], form: str) -> None:
        super().__init__(form)
        self.shape = shape
        self.weights = weights

    def build(self) -> bytes:
        """Serialise the whole model."""
        shape = self.shape
        self._rotary_caches()
        hidden = self._embed("input_ids")
        skip = ""
        for layer in range(shape.num_hidden_layers):
            hidden, skip = self._decoder_layer(layer, hidden, skip)
        normal, _ = self._norm("model.norm", hidden, skip)
        flat = self.node("Reshape", [normal, self.constant("rows_shape", [-1, shape.hidden_size])])
        rows = self.node("Gather", [flat, "logit_rows"], axis=0)
        head = "model.embed_tokens" if shape.tie_word_embeddings else "lm_head"
        self._linear(rows, [head], "logits", (shape.vocab_size, shape.hidden_size), name="lm_head")
        meta = {"form": self.form, "context_tokens": str(shape.max_position_embeddings)}
        return self.serialise("llama", self._inputs(), self._outputs(), meta)

    def _decoder_layer(self, layer: int, hidden: str, skip: str) -> tuple[str, str]:
        shape, prefix = self.shape, f"model.layers.{layer}"
        q_size = shape.num_attention_heads * shape.head_dim
        kv_size = shape.num_key_value_heads * shape.head_dim
        normal, residual = self._norm(f"{prefix}.input_layernorm", hidden, skip)
        qkv = self._linear(
            normal,
            [f"{prefix}.self_attn.{part}_proj" for part in "qkv"],
            f"{prefix}.qkv",
            (q_size + 2 * kv_size, shape.hidden_size),
        )
        attended = self._attention(layer, qkv)
        attended = self._linear(
            attended, [f"{prefix}.self_attn.o_proj"], f"{prefix}.o", (shape.hidden_size, q_size)
        )
        normal, residual = self._norm(f"{prefix}.post_attention_layernorm", attended, residual)
        wide = (shape.intermediate_size, shape.hidden_size)
        gate = self._linear(normal, [f"{prefix}.mlp.gate_proj"], f"{prefix}.gate", wide)
        up = self._linear(normal, [f"{prefix}.mlp.up_proj"], f"{prefix}.up", wide)
        # QuickGelu with alpha 1 is x * sigmoid(x), the SiLU of SwiGLU, in one pass
        active = self.node("QuickGelu", [gate], domain=CONTRIB, alpha=1.0)
        product = self.node("Mul", [active, up])
        down = self._linear(product, [f"{prefix}.mlp.down_proj"], f"{prefix}.down", wide[::-1])
        return down, residual

    def _attention(self, layer: int, qkv: str) -> str:
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        lengths = ["seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"]
        output = f"attention.{layer}"
        self.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, *lengths],
            outputs=[output, *present],
            domain=CONTRIB,
            num_heads=self.shape.num_attention_heads,
            kv_num_heads=self.shape.num_key_value_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        return output

    def _norm(self, name: str, hidden: str, skip: str) -> tuple[str, str]:
        """RMSNorm of `hidden + skip`; returns the normal and the sum, the next residual."""
        gain = self.constant(name, self._weight(name, (self.shape.hidden_size,)))
        if not skip:
            normal = self.node(
                "SimplifiedLayerNormalization",
                [hidden, gain],
                axis=-1,
                epsilon=self.shape.rms_norm_eps,
                stash_type=1,
            )
            return normal, hidden
        outputs = [f"{name}.normal", "", "", f"{name}.sum"]
        self.node(
            "SkipSimplifiedLayerNormalization",
            [hidden, skip, gain],
            outputs=outputs if name != "model.norm" else outputs[:1],
            domain=CONTRIB,
            epsilon=self.shape.rms_norm_eps,
        )
        return outputs[0], outputs[3]

    def _linear(
        self, value: str, weights: list[str], output: str, size: tuple[int, int], name: str = ""
    ) -> str:
        stacked = np.concatenate([self._weight(w) for w in weights])
        if stacked.shape != size:
            raise DataError(f"weights {weights} have shape {stacked.shape}, expected {size}")
        return self.product(value, stacked, output, name)

    def _embed(self, tokens: str) -> str:
        table = self._weight("model.embed_tokens", (self.shape.vocab_size, self.shape.hidden_size))
        return self.rows(table, "embed_tokens", tokens)

    def _rotary_caches(self) -> None:
        """Rotary angles, position * theta**(-2i/d) (arXiv:2104.09864, section 3.2.2)."""
        pair = np.arange(0, self.shape.head_dim, 2, dtype=np.float32) / self.shape.head_dim
        frequency = (1.0 / np.float32(self.shape.rope_theta) ** pair).astype(np.float32)
        position = np.arange(self.shape.max_position_embeddings, dtype=np.float32)
        angle = np.outer(position, frequency)
        self.constant("cos_cache", np.cos(angle).astype(np.float32))
        self.constant("sin_cache", np.sin(angle).astype(np.float32))

    def _weight(self, name: str, size: tuple[int, ...] | None = None) -> Array:
        weight = self.weights.get(f"{name}.weight")
        if weight is None:
            raise DataError(f"the checkpoint has no weight {name}.weight")
        if size is not None and weight.shape != size:
            raise DataError(f"{name}.weight has shape {weight.shape}, expected {size}")
        return weight

    def _inputs(self) -> list[Any]:
        kinds = self.onnx.TensorProto
        return [
            self.tensor("input_ids", kinds.INT64, ["batch", "step"]),
            self.tensor("seqlens_k", kinds.INT32, ["batch"]),
            self.tensor("total_sequence_length", kinds.INT32, [1]),
            self.tensor("logit_rows", kinds.INT64, ["rows"]),
            *self._key_values("past_key_values", "past"),
        ]

    def _outputs(self) -> list[Any]:
        logits = self.tensor("logits", self.onnx.TensorProto.FLOAT, ["rows", self.shape.vocab_size])
        return [logits, *self._key_values("present", "total")]

    def _key_values(self, prefix: str, length: str) -> list[Any]:
        size = ["batch", self.shape.num_key_value_heads, length, self.shape.head_dim]
        return [
            self.tensor(f"{prefix}.{layer}.{part}", self.onnx.TensorProto.FLOAT, size)
            for layer in range(self.shape.num_hidden_layers)
            for part in ("key", "value")
        ]
