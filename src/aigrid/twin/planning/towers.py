# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""Towers that may serve beside their radio: what is left for AI by time of day, and what it costs.

A tower's computer is sized for its radio; what AI may use is the rest above the quantile of need
(1 - 1e-5) at a load that one minute in ten exceeds. Further whole devices may be added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.country.network import TOWER, Network
from aigrid.twin.country.scenario import Country
from aigrid.twin.models.money import DAYS_A_YEAR
from aigrid.twin.models.shapes import radio_shape
from aigrid.twin.models.slots import need_table
from aigrid.twin.planning.options import GROUPS, PLANNED, Paces, least_running, speed_bin
from aigrid.twin.planning.terms import BUY, PERIODS, Terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
# Standard normal deviation that one minute in ten exceeds.
LOAD_Z = 1.2816
EXTRA = (0, 1, 2)
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@dataclass(frozen=True, slots=True)
class Towers:
    """N towers; a choice of A = extra devices x planned loads for each.

    Attributes:
        row: (N,) of the network.
        group: (N,) of the model.
        customers: (N,).
        compute: (N,) devices that stand for the radio.
        spare: (N, T) devices that AI may use, before any are added.
        price_usd: (N,) of one device.
        first_usd: (N,) capital so that the standing computer does AI too.
        idle_usd: (N,) a year's energy of one added device, idle.
        busy_usd: (N,) least energy for a second of work at full batches: see `Options.running`.
        run_usd: (N,) energy for a second in which a device runs something, beyond the idle one's.
        busy: (kinds, USES) as in `Options`.
        kind: (N,) row of `work_s` and of `keeps`: by device and group.
        work_s: (kinds, S) device seconds of a request.
        keeps: (kinds, loads, V, S) whether promises hold, by planned load and speed.
        lawful: (N, S).
    """

    row: Ints
    group: Ints
    customers: Floats
    compute: Floats
    spare: Floats
    price_usd: Floats
    first_usd: Floats
    idle_usd: Floats
    busy_usd: Floats
    run_usd: Floats
    busy: Floats
    kind: Ints
    work_s: Floats
    keeps: Bools
    lawful: Bools

    def __len__(self) -> int:
        return len(self.row)


def towers_of(country: Country, terms: Terms, paces: Paces, rows: Ints, group: Ints) -> Towers:
    """The towers in `rows`, whose groups are `group`."""
    network, money = country.network, country.money
    compute = network.devices[rows].astype(np.float64)
    device = network.device[rows].astype(np.int64)
    price = np.array([d.capital_usd for d in country.devices])[device]
    idle = np.array([d.idle_w for d in country.devices])[device]
    busy = np.array([d.peak_w - d.idle_w for d in country.devices])[device]
    energy = money.usd_per_kwh * money.pue / 1e3
    size = _together(compute)
    pairs, kind = np.unique(np.stack([device, size]), axis=1, return_inverse=True)
    types = [paces.row_of[TOWER, int(d), int(g)] for d, g in pairs.T]
    each = [least_running(paces.busy[t], PLANNED[-1]) for t in types]
    running = np.array(each)[np.asarray(kind).reshape(-1)] if each else np.zeros(0)
    services = len(country.services)
    names = np.array(network.regions)[network.region[rows]]
    lawful = np.ones((len(rows), services), np.bool_)
    for s, service in enumerate(country.services):
        if service.regions:
            lawful[:, s] = np.isin(names, service.regions)
    added = np.maximum(compute * price - money.radio_only_tower_usd, 0.0)
    work = paces.ground.work_s[:, types].T if types else np.zeros((0, services))
    kept = paces.kept[:, types][..., 0] >= terms.slo_share
    return Towers(
        row=rows,
        group=group.astype(np.int64),
        customers=network.customers[rows].astype(np.float64),
        compute=compute,
        spare=_spare(country, rows, device, compute),
        price_usd=price,
        first_usd=added if terms.towers == BUY else np.zeros(len(rows)),
        idle_usd=idle * DAYS_A_YEAR * 24.0 * energy,
        busy_usd=busy * running * energy / 3600.0,
        run_usd=busy * energy / 3600.0,
        busy=paces.busy[types],
        kind=np.asarray(kind, np.int64).reshape(-1),
        work_s=np.ascontiguousarray(work),
        keeps=np.ascontiguousarray(kept.transpose(1, 3, 2, 0)),
        lawful=lawful,
    )


def tower_types(network: Network, rows: Ints) -> tuple[tuple[int, int], ...]:
    """Device rows of the towers in `rows`, and how many devices work together there."""
    size = _together(network.devices[rows].astype(np.float64))
    return tuple(
        sorted({(int(d), int(g)) for d, g in zip(network.device[rows], size, strict=True)})
    )


def _together(compute: Floats) -> Ints:
    size: Ints = 2 ** np.floor(np.log2(np.clip(compute, 1.0, GROUPS[-1]))).astype(np.int64)
    return size


def _busiest(country: Country) -> Floats:
    """(shapes + C, PERIODS) largest part of the busiest hour's load in each period of the day."""
    shapes = np.stack([radio_shape(name) for name in country.radio_shapes])
    named = shapes.reshape(len(shapes), PERIODS, -1).max(axis=2)
    count, bins = country.own_load.shape
    own = np.zeros((count, PERIODS))
    for period in range(PERIODS):
        part = slice(period * bins // PERIODS, -(-(period + 1) * bins // PERIODS))
        own[:, period] = country.own_load[:, part].max(axis=1, initial=0.0)
    return np.concatenate((named, own))


def _spare(country: Country, rows: Ints, device: Ints, compute: Floats) -> Floats:
    network, radio = country.network, country.radio
    cells = network.cells[rows].astype(np.int64)
    table = need_table(radio, max(int(cells.max(initial=1)), 1))
    busiest = _busiest(country)
    high = np.exp(radio.spread * LOAD_Z - 0.5 * radio.spread**2)
    load = np.minimum(busiest[network.shape[rows]] * network.peak_load[rows, None] * high, 1.0)
    column = np.ceil(load * table.load_bins).astype(np.int64)
    preemption = np.array(
        [np.inf if d.preemption_ms is None else d.preemption_ms for d in country.devices]
    )[device]
    temporal = preemption / radio.deadline_ms < 1.0
    slot = table.quantile[cells[:, None], column]
    need = np.where(temporal[:, None], table.sustained[cells[:, None], column], slot)
    # Shared in time, AI must be off while a slot's need leaves no time to make way.
    room = compute[:, None] * (1.0 - np.minimum(preemption / radio.deadline_ms, 1.0))[:, None]
    shut = temporal[:, None] & (slot > room)
    spare: Floats = np.where(shut, 0.0, np.maximum(compute[:, None] - need, 0.0))
    return spare


@njit(**_OPTIONS)
def fill(spare, extra, level_load, keeps, work_s, lawful, customers, rate, order, bins, served):
    """What one tower serves of its own demand: (S, T) requests a second, filled in `order`.

    Args:
        spare: (T,) devices for AI before any are added.
        extra: devices added.
        level_load: planned load.
        keeps: (V, S) at that load.
        work_s: (S,).
        lawful: (S,).
        customers: of the tower.
        rate: (S, T) planned, of a customer.
        order: (S,) services, most wanted first; -1 past the last.
        bins: (T,) speed bin of spare + extra.
        served: to fill.
    """
    for t in range(spare.shape[0]):
        left = (spare[t] + extra) * level_load
        for s in range(len(work_s)):
            served[s, t] = 0.0
        if spare[t] + extra <= 0.0:
            continue
        for place in range(len(order)):
            s = order[place]
            if s < 0 or not lawful[s] or not keeps[bins[t], s]:
                continue
            take = min(customers * rate[s, t], left / work_s[s])
            served[s, t] = take
            left -= take * work_s[s]


def bins_of(towers: Towers) -> NDArray[np.int64]:
    """(N, extras, T) speed bins."""
    speeds = towers.spare[:, None, :] + np.array(EXTRA, np.float64)[None, :, None]
    return speed_bin(np.minimum(speeds, float(GROUPS[-1])))
