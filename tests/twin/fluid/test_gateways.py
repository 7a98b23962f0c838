"""Gateways of flows send as `admit.order` does, request by request."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from aigrid.control import admit
from aigrid.twin.fluid import gateways

HOLD_S = 2.0


def sent(weights: list[float], rate: float) -> np.ndarray:
    """By the kernel: one origin, candidates next to it."""
    width = len(weights)
    found, only = np.zeros((1, width), np.float32), np.full(1, -1, np.int8)
    gateways.send(
        np.arange(width, dtype=np.int32)[None],
        np.array([weights], np.float32),
        np.array([rate]),
        np.full(width, HOLD_S),
        np.zeros((1, width), np.float32),
        found,
        only,
        (0,) * width,
    )
    row: np.ndarray = found[0]
    assert only[0] == -1 or row[only[0]] == 1.0
    return row


def by_requests(weights: list[float], rate: float, total: int) -> np.ndarray:
    """By `admit.order` itself, for requests that stay for some time."""
    chance = np.random.default_rng(3)
    used = [at for at, weight in enumerate(weights) if weight > 0.0]
    open_, ends, counts, now = [0] * len(used), [], np.zeros(len(weights)), 0.0
    for _ in range(total):
        now += chance.exponential(1.0 / rate)
        while ends and ends[0][0] <= now:
            open_[heapq.heappop(ends)[1]] -= 1
        at = admit.order([weights[k] for k in used], open_)[0]
        open_[at] += 1
        counts[used[at]] += 1.0
        heapq.heappush(ends, (now + chance.exponential(HOLD_S), at))
    return counts / total


@pytest.mark.parametrize("rate", [0.01, 0.2, 1.0, 4.0])
@pytest.mark.parametrize(
    "weights",
    [
        [1.0],
        [0.95, 0.05],
        [0.05, 0.95],
        [0.5, 0.5],
        [0.6, 0.0, 0.3, 0.1],
        [0.98, 0.01, 0.01],
    ],
)
def test_requests_go_where_a_gateway_sends_them(weights: list[float], rate: float) -> None:
    assert sent(weights, rate) == pytest.approx(by_requests(weights, rate, 20_000), abs=0.08)


def test_the_best_gets_all_of_few_requests_and_its_weight_of_many() -> None:
    assert sent([0.4, 0.6], 1e-4) == pytest.approx([0.0, 1.0], abs=1e-3)
    assert sent([0.4, 0.6], 500.0) == pytest.approx([0.4, 0.6], abs=0.02)


def test_an_origin_without_candidates_sends_nothing() -> None:
    assert sent([0.0, 0.0], 1.0).tolist() == [0.0, 0.0]
