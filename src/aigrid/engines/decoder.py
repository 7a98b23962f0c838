"""A Llama decoder on ONNX Runtime, with its key-value cache in slots.

The graph is the factory's (see `aigrid.factory.quantise`). Its past and present are one buffer of
`[slots, kv_heads, context, head_dim]` per layer, bound by address: a step writes the new keys and
values in place and copies nothing. Slots 0 to n-1 decode together; the slot after them prefills.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.engines.sessions import open_session

Floats = NDArray[np.float32]
PAST, PRESENT = "past_key_values", "present"


@dataclass(slots=True)
class _Step:
    """One shape of step: the arrays that the graph reads and writes, bound once by address."""

    binding: Any
    input_ids: NDArray[np.int64]
    seqlens_k: NDArray[np.int32]
    total: NDArray[np.int32]
    logit_rows: NDArray[np.int64]
    logits: Floats


class Decoder:
    """Runs steps over slots of one model; used from one thread, `score` from any.

    Args:
        path: the graph, `onnx/model.onnx` of a package.
        threads: threads inside one operator.
        slots: sequences held at once.
        shelf: slots behind them, that take no steps; for `move`.

    Raises:
        IntegrityError: the file is no ONNX graph.
        ConfigurationError: a graph that the factory did not make.
    """

    def __init__(self, path: Path, *, threads: int, slots: int, shelf: int = 0) -> None:
        self._session = open_session(path, threads)
        meta = self._session.get_modelmeta().custom_metadata_map
        caches = [i for i in self._session.get_inputs() if i.name.startswith(PAST)]
        if "context_tokens" not in meta or not caches:
            raise ConfigurationError(
                f"{path}: not a decoder graph of the aigrid factory",
                next_step="make the package with `aigrid factory run`",
            )
        self.form = meta.get("form", "")
        self.context_tokens = int(meta["context_tokens"])
        self.vocab_size = int(self._session.get_outputs()[0].shape[1])
        self.slots = slots
        _, heads, _, width = caches[0].shape
        # zeros are mapped lazily: a slot costs memory only as far as it was ever filled
        self._cache = {
            i.name: np.zeros((slots + shelf, heads, self.context_tokens, width), np.float32)
            for i in caches
        }
        self._empty = np.zeros((1, heads, 0, width), np.float32)
        self._decode_steps: dict[int, _Step] = {}

    def prefill(self, slot: int, tokens: list[int], start: int) -> Floats:
        """Feed part of a prompt to a slot.

        Args:
            slot: where the sequence lives.
            tokens: the next tokens, at least one.
            start: tokens that the slot holds already.

        Returns:
            Logits after the last token, float32 [vocab]; valid until the next step.
        """
        step = self._bind(slot, 1, len(tokens))
        step.input_ids[0] = tokens
        step.seqlens_k[0] = start + len(tokens) - 1
        step.total[0] = start + len(tokens)
        step.logit_rows[0] = len(tokens) - 1
        self._session.run_with_iobinding(step.binding)
        last: Floats = step.logits[0]
        return last

    def decode(self, tokens: list[int], held: list[int]) -> Floats:
        """Feed one token to each of the slots 0 to n-1.

        Args:
            tokens: one per slot.
            held: tokens that each slot holds already.

        Returns:
            Logits, float32 [n, vocab]; valid until the next step.
        """
        count = len(tokens)
        step = self._decode_steps.get(count)
        if step is None:
            step = self._decode_steps[count] = self._bind(0, count, 1)
            step.logit_rows[:] = np.arange(count)
        step.input_ids[:, 0] = tokens
        step.seqlens_k[:] = held
        step.total[0] = max(held) + 1
        self._session.run_with_iobinding(step.binding)
        return step.logits

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot over another slot."""
        for cache in self._cache.values():
            cache[target, :, :length] = cache[source, :, :length]

    def score(self, tokens: list[int]) -> Floats:
        """Logits after every token of a text, float32 [len(tokens), vocab]; touches no slot."""
        count = len(tokens)
        feed: dict[str, Any] = dict.fromkeys(self._cache, self._empty)
        feed["input_ids"] = np.asarray([tokens], np.int64)
        feed["seqlens_k"] = np.asarray([count - 1], np.int32)
        feed["total_sequence_length"] = np.asarray([count], np.int32)
        feed["logit_rows"] = np.arange(count, dtype=np.int64)
        logits: Floats = self._session.run(["logits"], feed)[0]
        return logits

    def _bind(self, first: int, count: int, width: int) -> _Step:
        step = _Step(
            self._session.io_binding(),
            np.zeros((count, width), np.int64),
            np.zeros(count, np.int32),
            np.zeros(1, np.int32),
            np.zeros(count, np.int64),
            np.zeros((count, self.vocab_size), np.float32),
        )
        _bind_input(step.binding, "input_ids", step.input_ids)
        _bind_input(step.binding, "seqlens_k", step.seqlens_k)
        _bind_input(step.binding, "total_sequence_length", step.total)
        _bind_input(step.binding, "logit_rows", step.logit_rows)
        _bind_output(step.binding, "logits", step.logits)
        for name, cache in self._cache.items():
            rows = cache[first : first + count]
            _bind_input(step.binding, name, rows)
            _bind_output(step.binding, PRESENT + name.removeprefix(PAST), rows)
        return step


def _bind_input(binding: Any, name: str, array: NDArray[Any]) -> None:
    binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _bind_output(binding: Any, name: str, array: NDArray[Any]) -> None:
    binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
