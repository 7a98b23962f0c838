# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Weights of the baselines that `aigrid` is compared with: (N, K) of one service, rows sum to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# A site without room still counts as this part of what it could serve, as a busy server does in
# least-loaded balancing.
_BUSY = 0.01


@njit(**_OPTIONS)
def nearest(reach, above, spare) -> Any:
    """All to the own site if the service stands there, else to the nearest above where it does."""
    weight = np.zeros(reach.shape, np.float32)
    for row in range(len(reach)):
        site = row
        while site >= 0:
            if spare[site] > 0.0:
                for at in range(reach.shape[1]):
                    if reach[row, at] == site:
                        weight[row, at] = 1.0
                        break
                break
            site = above[site]
    return weight


@njit(**_OPTIONS)
def least_loaded(reach, possible, load) -> Any:
    """In proportion to what each candidate has free now, near or far.

    Args:
        reach: (N, K).
        possible: (N,) requests a second that the site could serve, if it served nothing else.
        load: (N,) offered over possible, of all services.
    """
    weight = np.zeros(reach.shape, np.float32)
    for row in range(len(reach)):
        total = 0.0
        for at in range(reach.shape[1]):
            site = reach[row, at]
            if site >= 0:
                total += possible[site] * max(1.0 - load[site], _BUSY)
        for at in range(reach.shape[1]):
            site = reach[row, at]
            if site >= 0 and total > 0.0:
                weight[row, at] = possible[site] * max(1.0 - load[site], _BUSY) / total
    return weight


@njit(**_OPTIONS)
def round_robin(reach, spare) -> Any:
    """To all candidates where the service stands in turn."""
    weight = np.zeros(reach.shape, np.float32)
    for row in range(len(reach)):
        count = 0
        for at in range(reach.shape[1]):
            if reach[row, at] >= 0 and spare[reach[row, at]] > 0.0:
                count += 1
        for at in range(reach.shape[1]):
            if reach[row, at] >= 0 and spare[reach[row, at]] > 0.0:
                weight[row, at] = 1.0 / count
    return weight
