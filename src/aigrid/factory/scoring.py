"""Scores token windows with the torch model; the quantised form is scored by its own runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aigrid.factory.decoder import Decoder
from aigrid.factory.evaluation import Nats, Scorer
from aigrid.factory.training import autocast

ROWS = 8


def torch_scorer(decoder: Decoder, precision: str = "fp32") -> Scorer:
    """Scores `ROWS` windows at a time, padded at the end, which changes nothing before it."""

    def score(windows: Sequence[Sequence[int]]) -> list[Nats]:
        decoder.eval()
        scores: list[Nats] = []
        with torch.inference_mode(), autocast(precision):
            for start in range(0, len(windows), ROWS):
                scores += _score_rows(decoder, windows[start : start + ROWS])
        return scores

    return score


def _score_rows(decoder: Decoder, windows: Sequence[Sequence[int]]) -> list[Nats]:
    longest = max(len(window) for window in windows)
    rows = np.zeros((len(windows), longest), dtype=np.int64)
    for row, window in zip(rows, windows, strict=True):
        row[: len(window)] = window
    tokens = torch.from_numpy(rows)
    logs = torch.log_softmax(decoder(tokens[:, :-1]).float(), dim=-1)
    picked = logs.gather(-1, tokens[:, 1:, None])[..., 0].double().numpy()
    return [picked[i, : len(window) - 1] for i, window in enumerate(windows)]
