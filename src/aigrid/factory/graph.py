"""An ONNX graph put together node by node: no tracing, and the same weights give the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 21
CONTRIB = "com.microsoft"
BLOCK = 32
BITS = {"int8": 8, "int4": 4}

Array = NDArray[Any]


class Graph:
    """Nodes and weights.

    Args:
        form: of the weights of products: `fp32`, `int8` or `int4`.
    """

    def __init__(self, form: str) -> None:
        import onnx

        self.onnx = onnx
        self.form = form
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def serialise(
        self, name: str, inputs: list[Any], outputs: list[Any], meta: dict[str, str]
    ) -> bytes:
        """The model's bytes; `meta` goes into its properties."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, name, inputs, outputs, initializer=self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
            producer_name="aigrid",
            ir_version=10,
        )
        helper.set_model_props(model, meta)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def product(self, value: str, weight: Array, output: str, name: str = "") -> str:
        """`value` times the transpose of a weight [outputs, inputs], in the graph's form."""
        name = name or output
        if self.form not in BITS:
            constant = self.constant(f"{name}.weight", np.ascontiguousarray(weight.T))
            return self.node("MatMul", [value, constant], outputs=[output])
        bits = BITS[self.form]
        packed, scales = quantise_blocks(weight, bits)
        return self.node(
            "MatMulNBits",
            [
                value,
                self.constant(f"{name}.packed", packed),
                self.constant(f"{name}.scales", scales.reshape(-1)),
            ],
            outputs=[output],
            domain=CONTRIB,
            K=weight.shape[1],
            N=weight.shape[0],
            bits=bits,
            block_size=BLOCK,
            accuracy_level=4,
        )

    def rows(self, table: Array, name: str, tokens: str) -> str:
        """Rows of a table by id; 16 bits each value where weights are quantised."""
        if self.form not in BITS:
            return self.node("Gather", [self.constant(name, table), tokens])
        half = self.constant(name, table.astype(np.float16))
        row = self.node("Gather", [half, tokens])
        return self.node("Cast", [row], to=self.onnx.TensorProto.FLOAT)

    def constant(self, name: str, value: Any) -> str:
        """A weight; answers its name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(
        self, kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any
    ) -> str:
        """One operator; answers the name of its first output."""
        outputs = outputs or [f"{kind}.{len(self.nodes)}"]
        node = self.onnx.helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)
        self.nodes.append(node)
        return outputs[0]

    def tensor(self, name: str, kind: int, size: list[Any]) -> Any:
        """What goes in or comes out."""
        return self.onnx.helper.make_tensor_value_info(name, kind, size)


def quantise_blocks(weight: Array, bits: int) -> tuple[Array, Array]:
    """Symmetric quantisation in blocks of 32 along the input, as MatMulNBits packs it.

    Each block takes, of a few scales around the one that just spans it, the scale with the least
    squared error: a slightly smaller step is worth a clipped extreme.

    Args:
        weight: [outputs, inputs], float32.
        bits: 4 or 8.

    Returns:
        Packed values, uint8 [outputs, blocks, 32 * bits / 8] with offset 2**(bits-1), low nibble
        first; scales, float32 [outputs, blocks].
    """
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -inputs % BLOCK))).reshape(outputs, -1, BLOCK)
    offset = 1 << (bits - 1)
    scale = _best_scale(padded, offset)
    level = np.clip(np.rint(padded / scale[..., None]), -offset, offset - 1)
    code = (level + offset).astype(np.uint8)
    packed = code if bits == 8 else code[..., 0::2] | (code[..., 1::2] << 4)
    return packed, scale


def _best_scale(blocks: Array, offset: int) -> Array:
    peak = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
    span = np.where(peak == 0, 1.0, peak) / -offset  # signed: the extreme lands on -offset
    best, least = span, np.full(span.shape, np.inf)
    for stretch in np.linspace(0.80, 1.08, 15) if offset < 128 else (1.0,):
        scale = (span * stretch).astype(np.float32)
        level = np.clip(np.rint(blocks / scale[..., None]), -offset, offset - 1)
        error = np.square(level * scale[..., None] - blocks).sum(-1)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best.astype(np.float32)
