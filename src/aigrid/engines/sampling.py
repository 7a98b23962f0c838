"""From logits to a token: greedy, temperature, nucleus; and log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.engines.engine import Sampling

Floats = NDArray[np.floating[Any]]


def generator(seed: int | None) -> np.random.Generator:
    """The chance of one job, of its own so that companions in a batch cannot disturb it."""
    return np.random.default_rng(None if seed is None else seed & (2**64 - 1))


def choose(logits: Floats, sampling: Sampling, chance: np.random.Generator) -> int:
    """One token.

    Draws one uniform number and walks the cumulative distribution, so that a job's chance advances
    by one number per token whatever the settings. Nucleus: arXiv:1904.09751, section 3.1.

    Args:
        logits: float32 [vocab].
        sampling: temperature 0 takes the likeliest.
        chance: the job's own generator.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    weight = np.exp((logits - logits.max()) * (1.0 / max(sampling.temperature, 1e-3)))
    if sampling.top_p < 1:
        weight = np.where(weight >= _nucleus_floor(weight, sampling.top_p), weight, 0)
    return _walk(weight, chance.random())


def _walk(weight: Floats, draw: float) -> int:
    cumulative = weight.cumsum(dtype=np.float64)
    found = int(cumulative.searchsorted(draw * cumulative[-1], side="right"))
    return min(found, len(weight) - 1)


def _nucleus_floor(weight: Floats, top_p: float) -> float:
    """The least weight within the fewest likeliest tokens whose mass reaches `top_p`."""
    ranked = np.sort(weight)[::-1]
    mass = ranked.cumsum(dtype=np.float64)
    return float(ranked[min(int(mass.searchsorted(top_p * mass[-1])), len(ranked) - 1)])


def _likeliest(weight: Floats, count: int) -> NDArray[np.intp]:
    if count >= len(weight):
        return np.argsort(-weight, kind="stable")
    top = np.argpartition(weight, -count)[-count:]
    top.sort()  # ties in token order, whatever the partition left
    return top[np.argsort(-weight[top], kind="stable")]


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Natural log-probabilities over the last axis, in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide


def top_tokens(logprobs: Floats, count: int) -> list[tuple[int, float]]:
    """The likeliest tokens with their log-probabilities, likeliest first."""
    return [(int(t), float(logprobs[t])) for t in _likeliest(logprobs, count)] if count else []
