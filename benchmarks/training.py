"""Training speed: our loop against a bare torch loop of the same model, batch and precision.

The two take turns in one process, so that a busy neighbour hits both; the figure is the median of
the ratios of neighbouring turns.
"""

import statistics
import time
from typing import Any

import numpy as np

TURNS = 5
STEPS = 8
BATCH = 4
VOCAB = 2048
LIMIT = 0.80


def run() -> list[dict[str, Any]]:
    from aigrid.factory.machine import repeatable, resolve_precision, wait_without_spinning
    from aigrid.factory.recipe import TrainingDials

    wait_without_spinning()
    precision = resolve_precision("auto")
    dials = TrainingDials(steps=STEPS, batch=BATCH, warmup_steps=2)
    with repeatable(seed=0, threads=dials.threads):
        pairs = [(_ours(dials, precision), _bare(dials, precision)) for _ in range(TURNS + 1)][1:]
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    speed = statistics.median(ours for ours, _ in pairs)
    note = f"{precision}, {dials.threads} threads, batch {BATCH} x 256, {TURNS} turns"
    return [
        _row("our loop / bare torch loop", ratio, "ratio", f">= {LIMIT:.2f}", ratio >= LIMIT, note),
        _row("our loop", speed, "tokens/s", "", None, note),
    ]


def _row(
    figure: str, value: float, unit: str, limit: str, passed: bool | None, note: str
) -> dict[str, Any]:
    verdict = "" if passed is None else ("pass" if passed else "FAIL")
    return {
        "benchmark": "training",
        "figure": figure,
        "value": round(value, 3),
        "unit": unit,
        "limit": limit,
        "verdict": verdict,
        "note": note,
    }


def _pieces() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, VOCAB, 700, dtype=np.int32) for _ in range(200)]


def _decoder() -> Any:
    from aigrid.factory.decoder import Decoder
    from aigrid.factory.recipe import ModelDials

    return Decoder(ModelDials(layers=4, width=192, heads=6, kv_heads=2, context=256), VOCAB)


def _ours(dials: Any, precision: str) -> float:
    from aigrid.factory.batches import batches
    from aigrid.factory.progress import SilentProgress
    from aigrid.factory.training import train

    source = batches(_pieces(), dials.batch, 256, np.random.default_rng(0))
    return float(train(_decoder(), dials, source, precision, SilentProgress()).tokens_per_s)


def _bare(dials: Any, precision: str) -> float:
    """The least that trains: a ready batch, forward, backward, AdamW; no clipping, no schedule."""
    import torch

    from aigrid.factory.training import autocast

    decoder = _decoder()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, fused=True)
    block = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (dials.batch, 257)))
    inputs, targets = block[:, :-1].contiguous(), block[:, 1:].contiguous()
    started = time.perf_counter()
    for _ in range(dials.steps):
        with autocast(precision):
            loss = decoder.loss(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(inputs.numel() * dials.steps / (time.perf_counter() - started))


if __name__ == "__main__":
    for row in run():
        print(row)
