"""What may be bought for a site, and the load at which its promises still hold.

Costs and response times are those that the rehearsal uses (`fluid.responses`), so that a plan and
its rehearsal differ in what happens, not in what a device can do.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.control.policy import Policy
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import TOWER, Network
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid.ground import Ground, SiteType, ground_of
from aigrid.twin.fluid.responses import (
    COLD,
    LOADS,
    PARTS,
    PATHS,
    SLOWEST,
    SPEEDS,
    WARM,
    Responses,
)
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.models.device import Device
from aigrid.twin.policies import plan_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# Loads that a site is planned for; above the last, tails come out too short (decision 0087).
PLANNED = (0.1, 0.3, 0.5, 0.6, 0.7)
LEVELS = np.array([int(np.argmin(np.abs(LOADS - load))) for load in PLANNED])
# Loads that busy time is tabulated at.
USES = 65
USED = np.linspace(0.0, 1.0, USES)
GROUPS = (1, 2, 4, 8)
MOST_DEVICES = 1_000_000
# Rounding of memory that was divided to the last byte.
ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class Options:
    """O ways to equip a hub or factory: a device, how many at least and at most, a planned load.

    Attributes:
        kind: (O,) of the sites it is for, sorted.
        device: (O,) row of `devices`.
        least: (O,) devices, which is also how many work together.
        most: (O,) devices.
        load: (O,) planned, of the device seconds there are.
        work_s: (O, S) device seconds of a request; 1e9 where it cannot run.
        keeps: (O, S, P) whether the promises hold at that load, by path bin.
        busy: (O, USES) part of the time that something runs, at loads evenly from 0 to 1: a batch
            that is not full keeps a device as busy as a full one.
        running: (O,) that over load, the least of it up to the planned load: a linear program that
            reckons with it never plans more energy than is used.
        devices: that rows point into.
    """

    kind: NDArray[np.int64]
    device: NDArray[np.int64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    load: Floats
    work_s: Floats
    keeps: Bools
    busy: Floats
    running: Floats
    devices: tuple[Device, ...]

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Paces:
    """What types of sites can keep: of a `Ground` that has one site of each type.

    Attributes:
        ground: of those sites.
        row_of: (kind, device, group) to type.
        kept: (S, types, V, L, P) P(promises kept) at each speed, planned load and path.
        busy: (types, USES) part of the time that something runs, by load.
    """

    ground: Ground
    row_of: dict[tuple[int, int, int], int]
    kept: Floats
    busy: Floats


def paces_of(
    country: Country,
    dials: Policy,
    devices: tuple[Device, ...],
    towers: tuple[tuple[int, int], ...],
    kinds: tuple[int, ...],
    reach: NDArray[np.int32],
    hop_ms: NDArray[np.float32],
) -> Paces:
    """Tabulate every device at every kind of site, as the rehearsal would.

    Args:
        country: its services and paths.
        dials: of the orchestrator.
        devices: that may be bought, after those of the country.
        towers: device row, and devices that work together, of towers.
        kinds: of sites, without towers, that may get devices.
        reach: (N, C) candidates, for the mean of each path bin.
        hop_ms: (N, C) one way.
    """
    own = len(country.devices)
    # Kinds where the same services may stand need one table.
    like = {kind: _like(country, kind, kinds) for kind in kinds}
    rows = [
        (kind, own + d, group)
        for kind in sorted(set(like.values()))
        for d in range(len(devices))
        for group in GROUPS
    ] + [(TOWER, d, group) for d, group in towers]
    model = replace(
        country,
        network=_samples(rows),
        devices=country.devices + devices,
        services=tuple(replace(s, regions=()) for s in country.services),
    )
    ground = ground_of(model, plan_of("aigrid"), dials)
    found = responses_of(replace(ground, reach=reach, hop_ms=hop_ms))
    shape = (len(country.services), len(ground.types), len(SPEEDS), len(LOADS), 2, PATHS)
    kept = found.kept.reshape(shape)[:, :, :, LEVELS].astype(np.float64)
    warm = found.warm[:, None, None, None, None]
    mixed = warm * kept[..., WARM, :] + (1.0 - warm) * kept[..., COLD, :]
    # A longer path never keeps more.
    mixed = np.minimum.accumulate(mixed, axis=-1)
    row_of = {row: int(t) for row, t in zip(rows, ground.type_of, strict=True)}
    for kind, first in like.items():
        row_of |= {(kind, d, g): t for (k, d, g), t in row_of.items() if k == first}
    return Paces(ground, row_of, mixed, _busy(found))


def _busy(found: Responses) -> Floats:
    """(types, USES) part of the time that something runs: nothing at a load of 0."""
    loads = np.concatenate(([0.0], LOADS[LOADS > 0.0]))
    busy = found.busy[:, LOADS > 0.0]
    rows = [np.interp(USED, loads, np.concatenate(([0.0], row))) for row in busy]
    return np.clip(np.array(rows).reshape(-1, USES), USED, 1.0)


def least_running(busy: Floats, load: float) -> float:
    """Least of busy time over load, up to a load."""
    below = (USED > 0.0) & (load + 1e-9 >= USED)
    return float((busy[below] / USED[below]).min())


def _like(country: Country, kind: int, kinds: tuple[int, ...]) -> int:
    """The first kind on which the same services may stand."""

    def may(kind: int) -> list[bool]:
        return [not s.kinds or SITE_KINDS[kind] in s.kinds for s in country.services]

    return next(other for other in kinds if may(other) == may(kind))


def _samples(rows: list[tuple[int, int, int]]) -> Network:
    count = len(rows)
    kind, device, group = (np.array(column) for column in zip(*rows, strict=True))
    none = np.zeros(count)
    return Network(
        names=np.arange(count).astype(str),
        kind=kind.astype(np.int8),
        region=np.zeros(count, np.int16),
        latitude_deg=none,
        longitude_deg=none,
        parent=np.full(count, -1, np.int32),
        device=device.astype(np.int8),
        devices=group.astype(np.float64),
        cells=np.zeros(count, np.int16),
        shape=np.zeros(count, np.int8),
        peak_load=none,
        customers=none,
        regions=("anywhere",),
    )


def speed_bin(speed: Floats | float) -> NDArray[np.int64]:
    """Row of `SPEEDS` for speeds in devices."""
    octaves = np.log2(np.maximum(speed, 1e-9)) - SLOWEST
    bins: NDArray[np.int64] = np.rint(octaves * PARTS).astype(np.int64)
    return np.clip(bins, 0, len(SPEEDS) - 1)


def options_of(
    paces: Paces, devices: tuple[Device, ...], own: int, kinds: tuple[int, ...], slo_share: float
) -> Options:
    """Everything that may stand at a hub or factory, without what is never better.

    Args:
        paces: what each type keeps.
        devices: that may be bought.
        own: devices of the country, which come before them.
        kinds: of sites.
        slo_share: of requests that must keep their promises.
    """
    rows = []
    for place, d, group in itertools.product(kinds, range(len(devices)), GROUPS):
        t = paces.row_of[place, own + d, group]
        site = paces.ground.types[t]
        kept = paces.kept[:, t, speed_bin(float(group))] >= slo_share
        for together in _together(site):
            seen: list[Bools] = []
            # From the highest load down: a lower one is worth it only if more is kept.
            for level in range(len(PLANNED) - 1, -1, -1):
                keeps = kept[:, level] & together[:, None]
                if not keeps.any() or any(np.all(keeps <= better) for better in seen):
                    continue
                seen.append(keeps)
                most = MOST_DEVICES if group == GROUPS[-1] else 2 * group - 1
                work = paces.ground.work_s[:, t]
                busy = paces.busy[t]
                running = least_running(busy, PLANNED[level])
                rows.append((place, d, group, most, PLANNED[level], work, keeps, busy, running))
    columns: list[Any] = [np.array([row[i] for row in rows]) for i in range(9)]
    if not rows:
        services = len(paces.kept)
        columns = [np.zeros(0, np.int64)] * 4 + [np.zeros(0), np.zeros((0, services))]
        columns += [np.zeros((0, services, PATHS), np.bool_), np.zeros((0, USES)), np.zeros(0)]
    kind, device, least, most, load, work_s, keeps, busy, ran = columns
    return Options(kind, device, least, most, load, work_s, keeps, busy, ran, devices)


def able_of(allowed: Bools, keeps: Bools) -> Bools:
    """Whether anything that a site may have keeps a service's promises over a path.

    Args:
        allowed: (K, O) options that each site may have.
        keeps: (O, S, P) see `Options`.

    Returns:
        (K, S, P)
    """
    found = np.zeros((len(allowed), *keeps.shape[1:]), np.bool_)
    alike, of = np.unique(allowed, axis=0, return_inverse=True)
    for row, may in enumerate(alike):
        found[of.reshape(-1) == row] = keeps[may].any(axis=0)
    return found


def _together(site: SiteType) -> list[Bools]:
    """Largest sets of services whose weights and caches fit the memory of a group at once."""
    needs = np.array([np.inf if c is None else c.memory_gb for c in site.costs])
    able = np.flatnonzero(np.isfinite(needs))
    found: list[Bools] = []
    for size in range(len(able), 0, -1):
        for chosen in itertools.combinations(able, size):
            mask = np.zeros(len(needs), np.bool_)
            mask[list(chosen)] = True
            fits = needs[mask].sum() <= site.memory_gb * ROUNDING
            if fits and not any(np.all(mask <= other) for other in found):
                found.append(mask)
    return found
