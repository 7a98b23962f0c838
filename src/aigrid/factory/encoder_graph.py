"""A text encoder's checkpoint becomes the ONNX graph that the embedding engine runs.

    input_ids           [batch, tokens]        padded on the right
    attention_mask      [batch, tokens]        int32, 1 where there is a token

    sentence_embedding  [batch, hidden]        pooled, not normalised

Weights of products are fp32, or 8 bits in blocks of 32 with a scale each; activations are then
rounded row by row as they come, so that a text's vector does not depend on its company in a batch.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aigrid.factory.encoder import EncoderWeights
from aigrid.factory.encoder_shape import EncoderShape
from aigrid.factory.graph import CONTRIB, Graph
from aigrid.factory.staging import write_file

if TYPE_CHECKING:
    from aigrid.factory.sentences import SentenceModel

POOLINGS = ("mean", "cls")
FORMS = ("fp32", "int8", "int8-dynamic")
DYNAMIC = "int8-dynamic"


def export_encoder(
    folder: Path,
    model: SentenceModel,
    weights: EncoderWeights,
    form: str,
    dimensions: Sequence[int] = (),
) -> Path:
    """Write `onnx/model.onnx` into a folder; the same weights give the same bytes.

    Args:
        folder: of the package.
        model: the checkpoint.
        weights: of it.
        form: `fp32`; `int8`, weights in blocks; or `int8-dynamic`, ONNX Runtime's dynamic
            quantisation: faster, less exact, and a vector then depends a little on its batch.
        dimensions: to which vectors may be cut.

    Returns:
        The path of the graph.

    Raises:
        DataError: a weight is missing or of the wrong shape.
        StorageError: the graph cannot be written.
    """
    meta = {
        "form": form,
        "context_tokens": str(model.context_tokens),
        "vocab_size": str(model.shape.vocab_size),
        "normalise": "true" if model.normalise else "false",
        "dimensions": " ".join(map(str, sorted(dimensions))),
    }
    graph = EncoderGraph(model.shape, weights, model.pooling, form)
    path = folder / "onnx" / "model.onnx"
    write_file(path, graph.build(meta))
    if form == DYNAMIC:
        _quantise_dynamically(path)
    return path


def _quantise_dynamically(path: Path) -> None:
    """Products of 8-bit numbers, weights by column, activations by batch as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="aigrid-quantise-") as aside:
        target = Path(aside) / "model.onnx"
        logging.getLogger().addFilter(_no_advice)  # of types that it is told below
        try:
            quantize_dynamic(
                path,
                target,
                per_channel=True,
                reduce_range=True,  # without VNNI two products of full range overflow 16 bits
                weight_type=QuantType.QInt8,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        finally:
            logging.getLogger().removeFilter(_no_advice)
        write_file(path, target.read_bytes())


def _no_advice(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return not ("pre-processing" in said or said.startswith("Failed to infer data type"))


class EncoderGraph(Graph):
    """One encoder.

    Args:
        shape: of the checkpoint.
        weights: of it.
        pooling: one of `POOLINGS`.
        form: one of `FORMS`.
    """

    def __init__(
        self, shape: EncoderShape, weights: EncoderWeights, pooling: str, form: str
    ) -> None:
        super().__init__(form)
        self._shape, self._weights, self._pooling = shape, weights, pooling

    def build(self, meta: dict[str, str]) -> bytes:
        """Serialise it; `meta` goes into its properties."""
        kinds = self.onnx.TensorProto
        hidden = self._embed()
        for layer in range(self._shape.num_hidden_layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        getattr(self, f"_pool_{self._pooling}")(hidden)
        inputs = [
            self.tensor("input_ids", kinds.INT64, ["batch", "tokens"]),
            self.tensor("attention_mask", kinds.INT32, ["batch", "tokens"]),
        ]
        size = ["batch", self._shape.hidden_size]
        outputs = [self.tensor("sentence_embedding", kinds.FLOAT, size)]
        return self.serialise("encoder", inputs, outputs, meta)

    def _embed(self) -> str:
        weights, first = self._weights, self._shape.first_position
        # the type is the same for every token: added to each place once, here
        places = weights.table("position")[first:] + weights.table("token_type")[0]
        table = self.constant("positions", places.numpy())
        lengths = self.node("Shape", ["input_ids"])
        count = self.node("Gather", [lengths, self.constant("one", [1])], axis=0)
        taken = self.node("Slice", [table, self.constant("zero", [0]), count])
        words = self.rows(weights.table("word").numpy(), "words", "input_ids")
        return self._norm("embeddings.LayerNorm", self.node("Add", [words, taken]))

    def _layer(self, prefix: str, hidden: str) -> str:
        import numpy as np

        wide, inner = self._shape.hidden_size, self._shape.intermediate_size
        parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self._weights.array(f"{p}.weight", wide, wide) for p in parts])
        bias = np.concatenate([self._weights.array(f"{p}.bias", wide) for p in parts])
        three = self.product(hidden, weight, f"{prefix}.qkv")
        split = [f"{prefix}.{part}" for part in "qkv"]
        self.node("Split", [three], outputs=split, axis=-1, num_outputs=3)
        mixed = self.node(
            "MultiHeadAttention",
            [*split, self.constant(f"{prefix}.qkv.bias", bias), "attention_mask"],
            domain=CONTRIB,
            num_heads=self._shape.num_attention_heads,
        )
        mixed = self._linear(f"{prefix}.attention.output.dense", mixed, wide, wide)
        hidden = self._add_norm(f"{prefix}.attention.output", mixed, hidden)
        grown = self._linear(f"{prefix}.intermediate.dense", hidden, inner, wide)
        bias_name = self._bias(f"{prefix}.intermediate.dense", inner)
        active = self.node("BiasGelu", [grown, bias_name], domain=CONTRIB)
        shrunk = self._linear(f"{prefix}.output.dense", active, wide, inner)
        return self._add_norm(f"{prefix}.output", shrunk, hidden)

    def _linear(self, name: str, value: str, outs: int, ins: int) -> str:
        """The product alone; its bias goes into the node behind it."""
        weight = self._weights.array(f"{name}.weight", outs, ins)
        return self.product(value, weight, f"{name}.product", name=name)

    def _bias(self, name: str, outs: int) -> str:
        return self.constant(f"{name}.bias", self._weights.array(f"{name}.bias", outs))

    def _add_norm(self, prefix: str, value: str, hidden: str) -> str:
        """LayerNorm of `value + bias + hidden`."""
        bias = self._bias(f"{prefix}.dense", self._shape.hidden_size)
        return self.node(
            "SkipLayerNormalization",
            [value, hidden, *self._gain_and_bias(f"{prefix}.LayerNorm"), bias],
            domain=CONTRIB,
            epsilon=self._shape.layer_norm_eps,
        )

    def _norm(self, name: str, value: str) -> str:
        return self.node(
            "LayerNormalization",
            [value, *self._gain_and_bias(name)],
            axis=-1,
            epsilon=self._shape.layer_norm_eps,
        )

    def _gain_and_bias(self, name: str) -> list[str]:
        wide = self._shape.hidden_size
        return [
            self.constant(f"{name}.{part}", self._weights.array(f"{name}.{part}", wide))
            for part in ("weight", "bias")
        ]

    def _pool_mean(self, hidden: str) -> None:
        """The mean over tokens, padding left out."""
        kinds, last = self.onnx.TensorProto, self.constant("last", [-1])
        mask = self.node("Cast", ["attention_mask"], to=kinds.FLOAT)
        row = self.node("Unsqueeze", [mask, self.constant("middle", [1])])
        summed = self.node("MatMul", [row, hidden])  # [batch, 1, hidden]
        flat = self.node("Squeeze", [summed, self.constant("second", [1])])
        count = self.node("ReduceSum", [mask, last], keepdims=1)
        self.node("Div", [flat, count], outputs=["sentence_embedding"])

    def _pool_cls(self, hidden: str) -> None:
        """The first token's."""
        first = self.constant("first", 0)
        self.node("Gather", [hidden, first], outputs=["sentence_embedding"], axis=1)
