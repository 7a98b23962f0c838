"""How long requests take at a site, tabulated by its type, speed, load and the path to it.

A share of s of m devices makes every time 1 / (s m) as long, so that distributions are kept in
seconds of one device, by load alone (`models.latency`). A site's services disturb each other: the
tables of one are made with the others' prefills and turns (`models.turns`) at the load that they
would have in the country's mix. A site with another mix counts as one that is as busy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import Ground, SiteType
from aigrid.twin.models.batches import batch, prefill_samples_s
from aigrid.twin.models.latency import tpot_cdf, ttft_cdf
from aigrid.twin.models.queues import Stream, merged, stream_of
from aigrid.twin.models.service import Service
from aigrid.twin.models.turns import FULL, PREFILL, Shared, Turns, shared, turns_of

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
# Speeds in sixths of an octave, from 1/64 of a device to eight devices.
OCTAVES, PARTS, SLOWEST = 9, 6, -6
SPEEDS = 2.0 ** (SLOWEST + (np.arange(OCTAVES * PARTS) + 0.5) / PARTS)
# The same by lookup, in fine steps below a quarter of a device.
SPEED_STEPS = np.array([16_384.0, 512.0, 0.25])
SPEED_LOOKUP = np.stack(
    [
        np.clip(
            np.floor((np.log2((np.arange(4096) + 0.5) / steps) - SLOWEST) * PARTS),
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
_EDGES_S = np.concatenate(([0.0], np.geomspace(1e-5, 1e4, 127)))
TTFT_MS = np.concatenate((np.geomspace(1.0, 1e5, 120), [np.inf]))
TPOT_MS = np.concatenate((np.geomspace(0.05, 1e3, 90), [np.inf]))
WARM, COLD = 0, 1
# Part of its requests that a site must answer in time to be counted on.
PROMISED = 0.9999


@dataclass(frozen=True, slots=True)
class Responses:
    """Tables of S services at T types, L loads, V speeds, P path bins.

    An operating point is (type * V + speed) * L + load; O of them.

    Attributes:
        ttft: (S, T, 2, L, E) P(TTFT <= edge) in seconds of one device; warm and cold prefix.
        tpot: (S, T, L, E) likewise.
        late_s: (S, T, L) `PROMISED` quantile of TTFT on one device, which routing reckons with.
        paced_s: (S, T, L) likewise of TPOT.
        turns: what a site's services do to each other.
        busy: (T, L) part of the time that something runs.
        place: (T, F) load by how full a site is, in steps (`FULL_STEPS` up to 1, `OVER_STEPS`
            each from 1 to 4): half its busy time and half the load of its fullest service's batch;
            where that is above 1, the work that comes over that which gets through.
        kept: (S, O, 2, P) float32 P(TTFT and TPOT promised are kept).
        path_ms: (P,) round trip beyond the radio that a path bin counts as.
        warm: (S,) probability that a prefix is found where the session stayed.
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

    def speed_needed(self, s: int, ttft_s: float, tpot_s: float) -> Floats:
        """(T, L) devices that keep both promises of a service at each load; rises with load."""
        needed = np.maximum(self.late_s[s] / ttft_s, self.paced_s[s] / (tpot_s * (1.0 + 1e-9)))
        return np.asarray(np.maximum.accumulate(needed, axis=1), np.float64)

    @property
    def points(self) -> int:
        """O."""
        return int(self.kept.shape[1])


def responses_of(ground: Ground) -> Responses:
    """Tabulate a country's sites."""
    services, types = ground.country.services, ground.types
    shape = (len(services), len(types))
    ttft = np.zeros((*shape, 2, len(LOADS), len(_EDGES_S)))
    tpot = np.zeros((*shape, len(LOADS), len(_EDGES_S)))
    busy, full = np.zeros((2, len(types), len(LOADS)))
    turns = turns_of([kind.costs for kind in types], services, ground.country.queue_limit)
    for t, kind in enumerate(types):
        rates = _rates(ground, kind)
        for place, load in enumerate(LOADS):
            site = shared(turns, t, load * rates)
            busy[t, place] = site.busy
            full[t, place] = _fullness(turns, t, load * rates, site)
            for s, cost in enumerate(kind.costs):
                if cost is not None:
                    first, pace = _tables(ground, kind, s, load * rates, site)
                    ttft[s, t, :, place], tpot[s, t, place] = first, pace
    warm = np.array([_warm(service) for service in services])
    mixed = warm[:, None, None, None] * ttft[:, :, WARM]
    mixed += (1.0 - warm[:, None, None, None]) * ttft[:, :, COLD]
    found = Responses(
        ttft,
        tpot,
        _quantile_s(mixed, PROMISED),
        _quantile_s(tpot, PROMISED),
        turns,
        busy,
        np.stack([_places(np.maximum.accumulate(row)) for row in full]),
        np.zeros((len(services), len(types) * len(SPEEDS) * len(LOADS), 2, PATHS), "f4"),
        path_ms_of(ground),
        warm,
    )
    for s in range(len(services)):
        found.kept[s] = _kept(ground, found, s)
    return found


def _warm(service: Service) -> float:
    return service.residency if service.shared_prefix_tokens > 0 else 0.0


def _rates(ground: Ground, kind: SiteType) -> Floats:
    """(S,) requests a second of the country's mix that are a load of 1 on one device."""
    asked = [
        0.0 if cost is None else service.requests_per_customer_day
        for cost, service in zip(kind.costs, ground.country.services, strict=True)
    ]
    work = sum(n * c.work_s for n, c in zip(asked, kind.costs, strict=True) if c is not None)
    return np.array(asked) / work if work > 0.0 else np.array(asked)


def _fullness(turns: Turns, kind: int, rates: Floats, site: Shared) -> float:
    """How full a site is, as `sites.serve` has it."""
    work = turns.cost[kind, :, PREFILL] + turns.cost[kind, :, FULL]
    came, done = float(rates @ work), float(site.passed @ work)
    return came / done if site.fullest >= 1.0 else 0.5 * (site.busy + site.fullest)


def _places(full: Floats) -> NDArray[np.int16]:
    """The load whose fullness is nearest, by fullness in steps: see `Responses.place`."""
    levels = np.concatenate(
        (
            (np.arange(FULL_STEPS) + 0.5) / FULL_STEPS,
            1.0 + (np.arange(3 * OVER_STEPS) + 0.5) / OVER_STEPS,
        )
    )
    nearest: NDArray[np.int64] = np.argmin(np.abs(full[None, :] - levels[:, None]), axis=1)
    return nearest.astype(np.int16)


def _tables(
    ground: Ground, kind: SiteType, s: int, rates: Floats, site: Shared
) -> tuple[Floats, Floats]:
    """(2, E) of TTFT and (E,) of TPOT: of one service at one load, beside the others."""
    cost, service = kind.costs[s], ground.country.services[s]
    assert cost is not None
    others, limit = _others(ground, kind, site, s), ground.country.queue_limit
    turn = float(site.turn[s])
    state = batch(
        cost,
        service,
        1.0,
        float(rates[s]),
        queue_limit=limit,
        other_prefill=min(others.busy, 0.95),
        turn=turn,
    )
    spared = min(service.shared_prefix_tokens / service.prompt_tokens.mean, 1.0)
    first = {
        spared: ttft_cdf(
            cost,
            service,
            1.0,
            float(rates[s]) * cost.work_s,
            _EDGES_S * 1e3,
            queue_limit=limit,
            spared=spared,
            others=others,
            turn=turn,
        )
        for spared in {0.0, spared if _warm(service) > 0.0 else 0.0}
    }
    both = np.stack([first[max(first)], first[0.0]])
    return both, tpot_cdf(state, _EDGES_S * 1e3)


def path_ms_of(ground: Ground) -> Floats:
    """Mean round trip of the candidates in each path bin; its middle where there are none."""
    trips = 2.0 * ground.hop_ms[ground.reach >= 0].astype(np.float64)
    at = np.searchsorted(PATH_EDGES_MS, trips)
    count = np.bincount(at, minlength=PATHS)
    edges = np.minimum(PATH_EDGES_MS, 64.0)
    middle = (edges + np.concatenate(([0.0], edges[:-1]))) / 2.0
    mean = np.bincount(at, trips, minlength=PATHS) / np.maximum(count, 1)
    return np.where(count > 0, mean, middle)


def _quantile_s(cdf: Floats, probability: float) -> Floats:
    """First edge that the distribution reaches the probability at: (S, T, L)."""
    reached = cdf >= probability
    at = np.where(reached.any(axis=-1), reached.argmax(axis=-1), len(_EDGES_S) - 1)
    return _EDGES_S[at]


def _others(ground: Ground, kind: SiteType, site: Shared, own: int) -> Stream:
    streams = []
    for s, cost in enumerate(kind.costs):
        if s != own and cost is not None and site.passed[s] > 0.0:
            samples = prefill_samples_s(cost, ground.country.services[s].prompt_tokens)
            streams.append(stream_of(float(site.passed[s]), samples))
    found = merged(streams)
    return found if found.busy < 0.95 else _slower(found)


def _slower(stream: Stream) -> Stream:
    return Stream(stream.rate * 0.95 / stream.busy, stream.mean_s, stream.square_s2, stream.cube_s3)


def _kept(ground: Ground, found: Responses, s: int) -> NDArray[np.float32]:
    service = ground.country.services[s]
    types, loads = len(ground.types), len(LOADS)
    left_s = (service.ttft_slo_ms - ground.country.path.radio_ms - found.path_ms) / 1e3
    # Rounding of an exact promise must not count against it.
    tpot_s = service.tpot_slo_ms / 1e3 * (1.0 + 1e-9)
    kept = np.zeros((types, len(SPEEDS), loads, 2, PATHS))
    for t in range(types):
        for place in range(loads):
            paced = np.interp(tpot_s * SPEEDS, _EDGES_S, found.tpot[s, t, place])
            for prefix in (WARM, COLD):
                at = SPEEDS[:, None] * left_s[None, :]
                first = np.interp(at, _EDGES_S, found.ttft[s, t, prefix, place], left=0.0)
                kept[t, :, place, prefix] = first * paced[:, None]
    return kept.reshape(-1, 2, PATHS).astype(np.float32)


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
    shaped = mass.reshape(len(ground.types), len(SPEEDS), len(LOADS), 2, PATHS)
    path_s = (ground.country.path.radio_ms + found.path_ms) / 1e3
    total = np.zeros(len(edges_ms))
    inner = edges_ms[:-1] / 1e3
    for t, place, prefix in np.argwhere(shaped.sum(axis=(1, 4)) > 0.0):
        v, p = np.nonzero(shaped[t, :, place, prefix])
        left = (inner[None, :] - path_s[p, None]) * SPEEDS[v, None]
        below = np.interp(left, _EDGES_S, found.ttft[s, t, prefix, place], left=0.0)
        weight = shaped[t, v, place, prefix, p]
        total[:-1] += (weight[:, None] * below).sum(axis=0)
        total[-1] += weight.sum()
    return np.maximum(np.diff(total, prepend=0.0), 0.0)


def tpot_counts(ground: Ground, found: Responses, s: int, mass: Floats) -> Floats:
    """Requests by time per output token: as `ttft_counts`, over `TPOT_MS`."""
    shaped = mass.sum(axis=(1, 2)).reshape(len(ground.types), len(SPEEDS), len(LOADS))
    total = np.zeros(len(TPOT_MS))
    inner = TPOT_MS[:-1] / 1e3
    for t, v, place in np.argwhere(shaped > 0.0):
        below = np.interp(inner * SPEEDS[v], _EDGES_S, found.tpot[s, t, place])
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
