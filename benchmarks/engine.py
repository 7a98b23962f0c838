"""The embedded engine against a bare ONNX Runtime greedy loop over the same file, in one run.

The bare loop does what any loop must: feed the prompts, then one step after another with buffers
bound in place and an argmax. What the engine adds is scheduling, sampling, text and delivery. The
model has the shape of the first recipe's and untrained weights: speed does not depend on them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from aigrid.engines.embedded import EmbeddedEngine
from aigrid.engines.engine import Job, Sampling
from aigrid.factory.quantise import export
from benchmarks._rows import entry

_row = partial(entry, "engine")

RECIPE = Path(__file__).parent.parent / "recipes" / "first-light.yaml"
ROUNDS = 7
TOKENS = 160
PROMPT_TOKENS = 24
LONG_PROMPT_TOKENS = 128
LEAST_RATIO = 0.9


class BareLoop:
    """Greedy decoding with nothing around it.

    Args:
        path: the graph.
        context: positions that a stream may hold.
        streams: rows of every step.
    """

    def __init__(self, path: Path, context: int, streams: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._streams = streams
        self._vocab = self._session.get_outputs()[0].shape[1]
        self._cache = {
            i.name: np.zeros((streams, i.shape[1], context, i.shape[3]), np.float32)
            for i in self._session.get_inputs()
            if i.name.startswith("past")
        }
        self._steps = self._bind(0, streams, 1)

    def run(self, prompts: NDArray[np.int64], tokens: int) -> float:
        """Tokens a second over prompts and `tokens` new tokens a stream."""
        began = time.perf_counter()
        binding, arrays = self._steps
        for row, prompt in enumerate(prompts):
            arrays["input_ids"][row] = self._prefill(row, prompt)
        for held in range(prompts.shape[1], prompts.shape[1] + tokens - 1):
            arrays["seqlens_k"][:] = held
            arrays["total_sequence_length"][:] = held + 1
            self._session.run_with_iobinding(binding)
            arrays["input_ids"][:, 0] = arrays["logits"].argmax(1)
        return self._streams * tokens / (time.perf_counter() - began)

    def first_token_ms(self, prompt: NDArray[np.int64]) -> float:
        """Milliseconds until the first token of a prompt is known."""
        began = time.perf_counter()
        self._prefill(0, prompt)
        return (time.perf_counter() - began) * 1e3

    def _prefill(self, row: int, prompt: NDArray[np.int64]) -> int:
        binding, arrays = self._bind(row, 1, len(prompt))
        arrays["input_ids"][0] = prompt
        arrays["seqlens_k"][:] = len(prompt) - 1
        arrays["total_sequence_length"][:] = len(prompt)
        arrays["logit_rows"][:] = len(prompt) - 1
        self._session.run_with_iobinding(binding)
        return int(arrays["logits"][0].argmax())

    def _bind(self, first: int, rows: int, width: int) -> tuple[Any, dict[str, NDArray[Any]]]:
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": np.zeros((rows, width), np.int64),
            "seqlens_k": np.zeros(rows, np.int32),
            "total_sequence_length": np.zeros(1, np.int32),
            "logit_rows": np.arange(rows, dtype=np.int64),
            "logits": np.zeros((rows, self._vocab), np.float32),
        }
        binding = self._session.io_binding()
        slices = {name: cache[first : first + rows] for name, cache in self._cache.items()}
        presents = {name.replace("past_key_values", "present"): s for name, s in slices.items()}
        for name, array in (arrays | slices | presents).items():
            output = name == "logits" or name in presents
            bind = binding.bind_output if output else binding.bind_input
            bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding, arrays


async def _engine_round(engine: EmbeddedEngine, prompts: NDArray[np.int64], tokens: int) -> float:
    began = time.perf_counter()
    made = await asyncio.gather(*(_answer(engine, p, tokens) for p in prompts))
    return sum(made) / (time.perf_counter() - began)


async def _answer(engine: EmbeddedEngine, prompt: NDArray[np.int64], tokens: int) -> int:
    made = 0
    async for chunk in engine.generate(_job(prompt, tokens)):
        made = chunk.completion_tokens
    return made


async def _first_token_ms(engine: EmbeddedEngine, prompt: NDArray[np.int64]) -> float:
    began = time.perf_counter()
    stream = engine.generate(_job(prompt, 8))
    await anext(stream)
    elapsed_ms = (time.perf_counter() - began) * 1e3
    await stream.aclose()
    return elapsed_ms


def _job(prompt: NDArray[np.int64], tokens: int) -> Job:
    sampling = Sampling(max_tokens=tokens, temperature=0)
    return Job("benchmark", sampling, prompt=tuple(int(t) for t in prompt))


def _untrained_model(folder: Path) -> None:
    from aigrid.factory.checkpoint import write_checkpoint
    from aigrid.factory.decoder import Decoder
    from aigrid.factory.documents import Document
    from aigrid.factory.recipe import load_recipe
    from aigrid.factory.tokenizer import train_tokenizer

    recipe = load_recipe(RECIPE)
    text = Path(json.__file__).read_text(encoding="utf-8")
    tokenizer = train_tokenizer([Document("json", text)], recipe.tokenizer.vocab_size)
    decoder = Decoder(recipe.model, recipe.tokenizer.vocab_size)
    write_checkpoint(folder, decoder, tokenizer)
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(config | {"eos_token_id": None}), encoding="utf-8")
    export(folder, recipe.package.form)


async def _measure(folder: Path) -> list[dict[str, Any]]:
    engine = EmbeddedEngine.open(folder)
    try:
        rows = [row for streams in (1, 8) for row in await _throughput(engine, folder, streams)]
        return rows + await _first_token(engine, folder)
    finally:
        await engine.close()


async def _throughput(engine: EmbeddedEngine, folder: Path, streams: int) -> list[dict[str, Any]]:
    bare = BareLoop(folder / "onnx" / "model.onnx", engine.context_tokens, streams)
    prompts = np.random.default_rng(streams).integers(5, 500, (streams, PROMPT_TOKENS))
    theirs, ours = [], []
    for _ in range(ROUNDS):  # alternating, so that a slow spell of the machine hits both
        theirs.append(bare.run(prompts, TOKENS))
        ours.append(await _engine_round(engine, prompts, TOKENS))
    ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    speed, name = statistics.median(ours), f"{streams} stream{'s' if streams > 1 else ''}"
    note = f"bare loop {statistics.median(theirs):.0f} tokens/s; medians of {ROUNDS} rounds"
    verdict = "won" if ratio >= LEAST_RATIO else "lost"
    return [
        _row(f"tokens a second, {name}", speed, "tokens/s", "", "", note),
        _row(f"engine over bare loop, {name}", ratio, "ratio", f">= {LEAST_RATIO}", verdict, note),
    ]


async def _first_token(engine: EmbeddedEngine, folder: Path) -> list[dict[str, Any]]:
    bare = BareLoop(folder / "onnx" / "model.onnx", engine.context_tokens, 1)
    rng = np.random.default_rng(0)
    theirs, ours = [], []
    for _ in range(3 * ROUNDS):
        prompt = rng.integers(5, 500, LONG_PROMPT_TOKENS)
        theirs.append(bare.first_token_ms(prompt))
        ours.append(await _first_token_ms(engine, prompt))
    note = f"bare prefill in one piece {statistics.median(theirs):.1f} ms"
    figure = f"time to first token, prompt of {LONG_PROMPT_TOKENS}"
    return [_row(figure, statistics.median(ours), "ms", "", "", note)]


def run() -> list[dict[str, Any]]:
    """Rows of the table that `make bench` prints."""
    with tempfile.TemporaryDirectory() as folder:
        _untrained_model(Path(folder))
        return asyncio.run(_measure(Path(folder)))
