"""How long requests take at a site, tabulated by its type, speed, load and the path to it.

A share of s of m devices makes every time 1 / (s m) as long, so that distributions are kept in
seconds of one device, by load alone (`models.latency`). A site's services disturb each other: a
table is made with the others' prefills and turns (`models.turns`), for the country's mix of
services at a type of site (`tabulate`), or for the mix that is asked of it (`mixes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import Ground
from aigrid.twin.models.turns import Turns

Floats = NDArray[np.float64]
# fmt: off
LOADS = np.array((
    0.0001, 0.0005, 0.001, 0.002, 0.004, 0.007, 0.012, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.2,
    0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    1.0, 1.1, 1.25, 1.5, 2.0, 3.0,
))
# fmt: on
LOAD_STEPS = 512
# Steps of how full a site is, up to one where all get through, and above.
FULL_STEPS, OVER_STEPS = 256, 64
LOAD_LOOKUP = np.array(
    [int(np.argmin(np.abs(LOADS - (i + 0.5) / LOAD_STEPS))) for i in range(4 * LOAD_STEPS)],
    np.int16,
)
# Speeds in sixths of an octave, from 1/64 of a device to eight devices: one, two, four and eight
# are among them, so that a site of whole devices is read as what it is.
OCTAVES, PARTS, SLOWEST = 9, 6, -6
SPEEDS = 2.0 ** (SLOWEST + np.arange(OCTAVES * PARTS + 1) / PARTS)
# The same by lookup, in fine steps below a quarter of a device.
SPEED_STEPS = np.array([16_384.0, 512.0, 0.25])
SPEED_LOOKUP = np.stack(
    [
        np.clip(
            np.rint((np.log2((np.arange(4096) + 0.5) / steps) - SLOWEST) * PARTS),
            0,
            len(SPEEDS) - 1,
        )
        for steps in SPEED_STEPS[:2]
    ]
).astype(np.int16)
# Round trip beyond the radio, ms: upper edges.
PATH_EDGES_MS = np.array([0.01, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 1e9])
PATHS = len(PATH_EDGES_MS)
PATH_STEPS = 10
PATH_LOOKUP = np.searchsorted(
    PATH_EDGES_MS, (np.arange(50 * PATH_STEPS) + 0.5) / PATH_STEPS
).astype(np.uint8)
PATH_LOOKUP[0] = 0
EDGES_S = np.concatenate(([0.0], np.geomspace(1e-5, 1e4, 127)))
TTFT_MS = np.concatenate((np.geomspace(1.0, 1e5, 120), [np.inf]))
TPOT_MS = np.concatenate((np.geomspace(0.05, 1e3, 90), [np.inf]))
WARM, COLD = 0, 1
# Part of its requests that a site must answer in time to be counted on.
PROMISED = 0.9999


@dataclass(frozen=True, slots=True)
class Table:
    """One type of site with one mix of services; columns as of `Responses`.

    Attributes:
        ttft: (S, 2, L, E).
        tpot: (S, L, E).
        kept: (S, V * L, 2, P).
        busy: (L,).
        place: (F,).
    """

    ttft: Floats
    tpot: Floats
    kept: NDArray[np.float32]
    busy: Floats
    place: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Responses:
    """K tables of S services at T types, L loads, V speeds, P path bins.

    The first T tables are those of the types with the country's mix of services. An operating point
    is (table * V + speed) * L + load; O of them.

    Attributes:
        ttft: (S, K, 2, L, E) P(TTFT <= edge) in seconds of one device; warm and cold prefix.
        tpot: (S, K, L, E) likewise.
        late_s: (S, T, L) `PROMISED` quantile of TTFT on one device, which routing reckons with.
        paced_s: (S, T, L) likewise of TPOT.
        turns: what a site's services do to each other.
        busy: (T, L) part of the time that something runs.
        place: (K, F) load by how full a site is, in steps (`FULL_STEPS` up to 1, `OVER_STEPS`
            each from 1 to 4): half its busy time and half the load of its fullest service's batch;
            where that is above 1, the work that comes over that which gets through.
        kept: (S, O, 2, P) float32 P(TTFT and TPOT promised are kept).
        path_ms: (P,) round trip beyond the radio that a path bin counts as.
        warm: (S,) probability that a prefix is found where the session stayed.
        made: tables of other mixes, by type and what `mixes` calls the mix; added to.
    """

    ttft: Floats
    tpot: Floats
    late_s: Floats
    paced_s: Floats
    turns: Turns
    busy: Floats
    place: NDArray[np.int16]
    kept: NDArray[np.float32]
    path_ms: Floats
    warm: Floats
    made: dict[tuple[int, int], Table] = field(default_factory=dict)

    def speed_needed(self, s: int, ttft_s: float, tpot_s: float) -> Floats:
        """(T, L) devices that keep both promises of a service at each load; rises with load."""
        needed = np.maximum(self.late_s[s] / ttft_s, self.paced_s[s] / (tpot_s * (1.0 + 1e-9)))
        return np.asarray(np.maximum.accumulate(needed, axis=1), np.float64)

    @property
    def points(self) -> int:
        """O."""
        return int(self.kept.shape[1])

    @property
    def each(self) -> int:
        """Operating points of one table."""
        return len(SPEEDS) * len(LOADS)


def ttft_counts(
    ground: Ground, found: Responses, s: int, mass: Floats, edges_ms: Floats = TTFT_MS
) -> Floats:
    """Requests by time to first token, from the user's device and back.

    Args:
        ground: its paths.
        found: tables.
        s: the service.
        mass: (O, 2, P) requests at each operating point.
        edges_ms: (E,) upper edges, the last infinite.

    Returns:
        (E,) requests up to each edge and above the one before.
    """
    path_s = (ground.country.path.radio_ms + found.path_ms) / 1e3
    below = np.zeros(len(edges_ms))
    inner = edges_ms[:-1] / 1e3
    _below(mass, SPEEDS, len(LOADS), path_s, inner, EDGES_S, found.ttft[s], below[:-1])
    below[-1] = mass.sum()
    return np.maximum(np.diff(below, prepend=0.0), 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _below(mass, speeds, loads, path_s, at_s, edges_s, ttft, found):  # type: ignore[no-untyped-def]
    """Add up how many requests have their first token by each of the increasing times `at_s`."""
    for point in range(len(mass)):
        speed = speeds[point // loads % len(speeds)]
        for prefix in range(mass.shape[1]):
            cdf = ttft[point // (loads * len(speeds)), prefix, point % loads]
            for bin_ in range(mass.shape[2]):
                some = mass[point, prefix, bin_]
                if some <= 0.0:
                    continue
                low = 0
                for i in range(len(at_s)):
                    at = (at_s[i] - path_s[bin_]) * speed
                    if at < 0.0:
                        continue
                    while low < len(edges_s) - 2 and edges_s[low + 1] < at:
                        low += 1
                    along = (at - edges_s[low]) / (edges_s[low + 1] - edges_s[low])
                    found[i] += some * (cdf[low] + (cdf[low + 1] - cdf[low]) * min(along, 1.0))


def tpot_counts(found: Responses, s: int, mass: Floats) -> Floats:
    """Requests by time per output token: as `ttft_counts`, over `TPOT_MS`."""
    shaped = mass.sum(axis=(1, 2)).reshape(-1, len(SPEEDS), len(LOADS))
    total = np.zeros(len(TPOT_MS))
    inner = TPOT_MS[:-1] / 1e3
    for t, v, place in np.argwhere(shaped > 0.0):
        below = np.interp(inner * SPEEDS[v], EDGES_S, found.tpot[s, t, place])
        total[:-1] += shaped[t, v, place] * below
        total[-1] += shaped[t, v, place]
    return np.maximum(np.diff(total, prepend=0.0), 0.0)


def quantile_ms(edges_ms: Floats, counts: Floats, probability: float) -> float:
    """Quantile of a histogram, straight within a bin; NaN where it is empty."""
    total = counts.sum()
    if total <= 0.0:
        return float("nan")
    reached = np.cumsum(counts) / total
    at = min(int(np.searchsorted(reached, probability)), len(counts) - 2)
    below = reached[at - 1] if at else 0.0
    low = edges_ms[at - 1] if at else 0.0
    part = (probability - below) / max(reached[at] - below, 1e-300)
    return float(low + (edges_ms[at] - low) * min(max(part, 0.0), 1.0))
