"""Tables of `responses`, made: one site type and one mix of services at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import Ground, SiteType
from aigrid.twin.fluid.responses import (
    COLD,
    EDGES_S,
    FULL_STEPS,
    LOADS,
    OVER_STEPS,
    PATH_EDGES_MS,
    PATHS,
    PROMISED,
    SPEEDS,
    WARM,
    Responses,
    Table,
)
from aigrid.twin.models.batches import prefill_samples_s
from aigrid.twin.models.latency import latencies_of
from aigrid.twin.models.queues import Stream, merged, stream_of
from aigrid.twin.models.service import Service
from aigrid.twin.models.turns import FULL, PREFILL, Shared, Turns, shared, turns_of

Floats = NDArray[np.float64]


def responses_of(ground: Ground) -> Responses:
    """Tabulate a country's sites, with its mix of services."""
    services, types = ground.country.services, ground.types
    turns = turns_of([kind.costs for kind in types], services, ground.country.queue_limit)
    path_ms = path_ms_of(ground)
    tables = [
        tabulated(ground, turns, path_ms, t, _country_rates(ground, kind))
        for t, kind in enumerate(types)
    ]
    ttft = np.stack([table.ttft for table in tables], axis=1)
    tpot = np.stack([table.tpot for table in tables], axis=1)
    warm = np.array([_warm(service) for service in services])
    mixed = warm[:, None, None, None] * ttft[:, :, WARM]
    mixed += (1.0 - warm[:, None, None, None]) * ttft[:, :, COLD]
    return Responses(
        ttft,
        tpot,
        _quantile_s(mixed, PROMISED),
        _quantile_s(tpot, PROMISED),
        turns,
        np.stack([table.busy for table in tables]),
        np.stack([table.place for table in tables]),
        np.concatenate([table.kept for table in tables], axis=1),
        path_ms,
        warm,
    )


def tabulated(ground: Ground, turns: Turns, path_ms: Floats, kind: int, rates: Floats) -> Table:
    """Tabulate one type of site.

    Args:
        ground: of it.
        turns: of its types.
        path_ms: of `Responses`.
        kind: row of the type.
        rates: (S,) requests a second of the mix that are a load of 1 on one device.
    """
    services, costs = ground.country.services, ground.types[kind].costs
    sites = [shared(turns, kind, load * rates) for load in LOADS]
    full = np.array(
        [fullness(turns, kind, load * rates, site) for load, site in zip(LOADS, sites, strict=True)]
    )
    each = [
        None if cost is None else stream_of(1.0, prefill_samples_s(cost, service.prompt_tokens))
        for cost, service in zip(costs, services, strict=True)
    ]
    ttft = np.zeros((len(services), 2, len(LOADS), len(EDGES_S)))
    tpot = np.zeros((len(services), len(LOADS), len(EDGES_S)))
    for s, (cost, service) in enumerate(zip(costs, services, strict=True)):
        if cost is not None:
            spared = min(service.shared_prefix_tokens / service.prompt_tokens.mean, 1.0)
            ttft[s], tpot[s] = latencies_of(
                cost,
                service,
                1.0,
                LOADS * rates[s],
                EDGES_S,
                queue_limit=ground.country.queue_limit,
                spared=(spared if _warm(service) > 0.0 else 0.0, 0.0),
                others=[_others(each, site, s) for site in sites],
                turn=np.array([site.turn[s] for site in sites]),
            )
    kept = np.stack([_kept(ground, path_ms, s, ttft[s], tpot[s]) for s in range(len(services))])
    busy = np.array([site.busy for site in sites])
    return Table(ttft, tpot, kept, busy, _places(np.maximum.accumulate(full)))


def _warm(service: Service) -> float:
    return service.residency if service.shared_prefix_tokens > 0 else 0.0


def _country_rates(ground: Ground, kind: SiteType) -> Floats:
    asked = np.array([service.requests_per_customer_day for service in ground.country.services])
    return load_of_one(kind, asked)


def load_of_one(kind: SiteType, mix: Floats) -> Floats:
    """(S,) requests a second, in the parts of a mix, that are a load of 1 on one device."""
    can = np.array([cost is not None for cost in kind.costs])
    work_s = np.array([0.0 if cost is None else cost.work_s for cost in kind.costs])
    asked = np.where(can, mix, 0.0)
    work = float(asked @ work_s)
    return asked / work if work > 0.0 else asked


def fullness(turns: Turns, kind: int, rates: Floats, site: Shared) -> float:
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
    at = np.where(reached.any(axis=-1), reached.argmax(axis=-1), len(EDGES_S) - 1)
    return EDGES_S[at]


def _others(each: list[Stream | None], site: Shared, own: int) -> Stream:
    """Prefills of the other services, from streams of one prefill a second each."""
    found = merged(
        [
            Stream(float(rate), one.mean_s, one.square_s2, one.cube_s3)
            for s, (one, rate) in enumerate(zip(each, site.passed, strict=True))
            if s != own and one is not None and rate > 0.0
        ]
    )
    return found if found.busy < 0.95 else _slower(found)


def _slower(stream: Stream) -> Stream:
    return Stream(stream.rate * 0.95 / stream.busy, stream.mean_s, stream.square_s2, stream.cube_s3)


def _kept(
    ground: Ground, path_ms: Floats, s: int, ttft: Floats, tpot: Floats
) -> NDArray[np.float32]:
    """(V * L, 2, P) of one service."""
    service = ground.country.services[s]
    left_s = (service.ttft_slo_ms - ground.country.path.radio_ms - path_ms) / 1e3
    # Rounding of an exact promise must not count against it.
    tpot_s = service.tpot_slo_ms / 1e3 * (1.0 + 1e-9)
    at = SPEEDS[:, None] * left_s[None, :]
    kept = np.zeros((len(SPEEDS), len(LOADS), 2, PATHS))
    for load in range(len(LOADS)):
        paced = np.interp(tpot_s * SPEEDS, EDGES_S, tpot[load])
        for prefix in (WARM, COLD):
            first = np.interp(at, EDGES_S, ttft[prefix, load], left=0.0)
            kept[:, load, prefix] = first * paced[:, None]
    return kept.reshape(-1, 2, PATHS).astype(np.float32)
