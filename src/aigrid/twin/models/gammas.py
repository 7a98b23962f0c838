"""Gamma distributions by their quantiles, looked up: no special function in a kernel.

Waits are taken as gamma distributed (`queues.mg1_wait_cdf`, `latency`). The quantiles over the
mean are tabulated by shape, in quarters of an octave; in between they are taken as straight.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import gammaincinv

Floats = NDArray[np.float64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Equally likely values that stand for a whole distribution.
EVEN = 24
# Probabilities of the columns: 0, few, the equally likely ones, and out into the tail.
PARTS = np.concatenate(
    (
        (0.0, 1e-4, 2e-3, 0.01),
        (np.arange(EVEN) + 0.5) / EVEN,
        (0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999, 0.999999, 1.0 - 1e-9),
    )
)
FIRST = 4
# Shapes, as powers of two.
LOWEST, HIGHEST, STEPS = -12, 20, 4


@functools.cache
def gamma_table() -> Floats:
    """(shapes, PARTS) quantiles of gamma distributions with a mean of 1."""
    shape = 2.0 ** (LOWEST + np.arange((HIGHEST - LOWEST) * STEPS + 1) / STEPS)[:, None]
    table: Floats = gammaincinv(shape, PARTS[None, :]) / shape
    table.setflags(write=False)
    return table


@njit(**_OPTIONS)
def gamma_row(table, mean, square, found):  # type: ignore[no-untyped-def]
    """Fill `found`, (PARTS,), with the quantiles of the gamma with that mean and mean square."""
    spread = max(square - mean * mean, 1e-6 * mean * mean)
    at = (np.log2(mean * mean / spread) - LOWEST) * STEPS
    at = min(max(at, 0.0), len(table) - 1.0)
    low = min(int(at), len(table) - 2)
    part = at - low
    for i in range(table.shape[1]):
        found[i] = mean * (table[low, i] + (table[low + 1, i] - table[low, i]) * part)
