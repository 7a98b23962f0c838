"""The training loop: AdamW, warm-up and cosine, clipped gradients, a fixed number of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aigrid.core.errors import DataError
from aigrid.factory.decoder import Decoder
from aigrid.factory.progress import Progress
from aigrid.factory.recipe import TrainingDials

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
FINAL_RATE = 0.1
REPORT_EVERY = 5


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a training run was.

    Attributes:
        losses: mean cross-entropy of each step, nats a token.
        tokens: tokens seen.
        seconds: wall-clock time of the loop.
    """

    losses: tuple[float, ...]
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Speed of the loop."""
        return self.tokens / self.seconds if self.seconds else 0.0


def learning_rate(step: int, dials: TrainingDials) -> float:
    """Linear warm-up, then half a cosine (arXiv:1608.03983) down to a tenth of the peak."""
    if step < dials.warmup_steps:
        return dials.learning_rate * (step + 1) / (dials.warmup_steps + 1)
    done = (step - dials.warmup_steps) / max(1, dials.steps - dials.warmup_steps)
    cosine = 0.5 * (1.0 + math.cos(math.pi * done))
    return dials.learning_rate * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)


def make_optimizer(decoder: Decoder, dials: TrainingDials) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101); norms do not decay."""
    matrices = [p for p in decoder.parameters() if p.dim() >= 2]
    gains = [p for p in decoder.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": dials.weight_decay},
        {"params": gains, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=dials.learning_rate, betas=(0.9, 0.95), fused=True)


def autocast(precision: str) -> Any:
    """Matrix products in bf16, sums and weights in fp32; nothing at all for fp32."""
    if precision == "bf16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def train(
    decoder: Decoder,
    dials: TrainingDials,
    source: Iterator[Batch],
    precision: str,
    progress: Progress,
) -> TrainingRun:
    """Train in place for `dials.steps` steps.

    Args:
        decoder: changed in place.
        dials: how long and how fast.
        source: batches, from `aigrid.factory.batches.batches`.
        precision: `fp32` or `bf16`, already resolved.
        progress: hears a stage `training` with the loss as a fact.

    Raises:
        DataError: the loss became infinite or no number.
    """
    optimizer = make_optimizer(decoder, dials)
    losses: list[torch.Tensor] = []
    tokens = 0
    progress.stage("training", dials.steps)
    started = time.perf_counter()
    for step in range(dials.steps):
        inputs, targets = next(source)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, dials)
        losses.append(_step(decoder, optimizer, inputs, targets, precision, dials.clip_norm))
        tokens += inputs.size
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == dials.steps:
            since = (step % REPORT_EVERY) + 1
            progress.advance(since, loss=round(_finite(losses[-1], step), 3), tokens=tokens)
    seconds = time.perf_counter() - started
    return TrainingRun(tuple(torch.stack(losses).tolist()), tokens, seconds)


def _step(
    decoder: Decoder,
    optimizer: torch.optim.AdamW,
    inputs: NDArray[np.int64],
    targets: NDArray[np.int64],
    precision: str,
    clip_norm: float,
) -> torch.Tensor:
    with autocast(precision):
        loss = decoder.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
    loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
    torch.nn.utils.clip_grad_norm_(decoder.parameters(), clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _finite(loss: torch.Tensor, step: int) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise DataError(
            f"the loss became {value} at step {step + 1}",
            next_step="lower training.learning_rate or raise training.warmup_steps",
        )
    return value
