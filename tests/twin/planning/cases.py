"""Small planning problems, made by hand or by chance, and a brute-force planner."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.optimize import linprog

from aigrid.twin.fluid.responses import PATHS, SPEEDS
from aigrid.twin.models.devices import known
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import PLANNED, USED, Options
from aigrid.twin.planning.terms import Terms
from aigrid.twin.planning.towers import EXTRA, Towers

DEVICES = (known("l4"), known("h100"))
SERVICES, PERIODS = 2, 2


def options(work_s: Any, keeps: Any, most: int) -> Options:
    """Two for each kind: one device or more of either."""
    kind = np.array([0, 0, 1, 1])
    return Options(
        kind=kind,
        device=np.array([0, 1, 0, 1]),
        least=np.ones(4, np.int64),
        most=np.full(4, most),
        load=np.array([0.7, 0.5, 0.7, 0.5]),
        work_s=np.asarray(work_s, np.float64),
        keeps=np.asarray(keeps),
        busy=np.tile(USED, (4, 1)),
        running=np.ones(4),
        devices=DEVICES,
    )


def model(seed: int, towers: int = 2, most: int = 3, scale: float = 1.0, **terms: Any) -> Model:
    """Two groups, a factory that both reach and a hub each; who may serve what is by chance."""
    rng = np.random.default_rng(seed)
    keeps = np.zeros((4, SERVICES, PATHS), np.bool_)
    # All keep their promises near by, some also over the path to the factory.
    keeps[:, :, :3] = True
    keeps[:, :, 3:] = (rng.random((4, SERVICES)) < 0.6)[:, :, None]
    lawful = np.ones((3, SERVICES), np.bool_)
    lawful[0] = rng.random(SERVICES) < 0.8
    work = np.where(np.arange(4)[:, None] % 2 == 0, 0.1, 0.02) * rng.uniform(
        0.5, 1.5, (4, SERVICES)
    )
    rate = rng.uniform(0.5, 5.0, (SERVICES, PERIODS)) * scale
    group = np.arange(towers) % 2
    customers = rng.uniform(0.2, 1.0, towers)
    return Model(
        country=None,  # type: ignore[arg-type]
        terms=Terms(DEVICES, **terms),
        options=options(work, keeps, most),
        towers=_towers(rng, group, customers),
        site=np.arange(3),
        kind=np.array([0, 1, 1]),
        customers=rng.uniform(0.5, 1.5, 2) + np.bincount(group, customers, 2),
        near=np.array([[0, 1], [0, 2]]),
        path=np.array([[4, 2], [4, 2]]),
        lawful=lawful,
        rate=rate,
        year=np.full((SERVICES, PERIODS), 1e7),
        value_usd=np.array([2e-4, 5e-5]),
        carry_usd=np.array([1e-7, 1e-7]),
        capital=0.25,
        usd_per_wh=2e-4,
        margin=1.1,
        farthest_ms=np.array([[2.0, 0.5], [2.0, 0.5]]),
        allowed=np.array([0, 1, 1])[:, None] == np.array([0, 0, 1, 1])[None],
        room=np.ones(3),
    )


def _towers(rng: np.random.Generator, group: Any, customers: Any) -> Towers:
    count = len(group)
    keeps = np.zeros((1, len(PLANNED), len(SPEEDS), SERVICES), np.bool_)
    keeps[:, -1] = True
    return Towers(
        row=np.arange(count),
        group=group,
        customers=customers,
        compute=np.ones(count),
        spare=rng.uniform(0.3, 0.8, (count, PERIODS)),
        price_usd=np.full(count, 4000.0),
        first_usd=rng.uniform(0.0, 3000.0, count),
        idle_usd=np.full(count, 50.0),
        busy_usd=np.full(count, 1e-7),
        run_usd=np.full(count, 1e-7),
        busy=USED[None],
        kind=np.zeros(count, np.int64),
        work_s=np.array([[0.1, 0.1]]),
        keeps=keeps,
        lawful=np.ones((count, SERVICES), np.bool_),
    )


def brute_force(m: Model) -> float:
    """Least cost a year of carrying all: every choice of devices, flows by linear program."""
    per_site = []
    for kind in m.kind:
        here = [(-1, 0)]
        for o in np.flatnonzero(m.options.kind == kind):
            here += [(int(o), n) for n in range(1, int(m.options.most[o]) + 1)]
        per_site.append(here)
    last = len(PLANNED) - 1
    per_tower = [[-1, *(e * len(PLANNED) + last for e in range(len(EXTRA)))]] * len(m.towers)
    chosen = sorted(
        itertools.product(itertools.product(*per_site), itertools.product(*per_tower)),
        key=lambda choice: _fixed(m, *choice),
    )
    best = np.inf
    for sites, towers in chosen:
        fixed = _fixed(m, sites, towers)
        if fixed >= best:
            break
        best = min(best, fixed + _flows(m, sites, towers))
    return float(best)


def _fixed(m: Model, sites: Any, towers: Any) -> float:
    price, idle = m.price() * m.capital, m.idle_usd()
    cost = sum(n * (price[o] + idle[o]) for o, n in sites if o >= 0)
    for i, choice in enumerate(towers):
        if choice >= 0:
            extra = EXTRA[choice // len(PLANNED)]
            capital = m.towers.first_usd[i] + extra * m.towers.price_usd[i]
            cost += capital * m.capital + extra * m.towers.idle_usd[i]
    return float(cost)


def _flows(m: Model, sites: Any, towers: Any) -> float:
    total = 0.0
    for t in range(PERIODS):
        names, cost, high = [], [], []
        for g, c, s in np.ndindex(*m.near.shape, SERVICES):
            k = int(m.near[g, c])
            o = sites[k][0]
            if o >= 0 and m.lawful[k, s] and m.options.keeps[o, s, m.path[g, c]]:
                names.append((g, s, k, m.options.work_s[o, s]))
                energy = m.options.work_s[o, s] * m.busy_usd()[o]
                cost.append(m.year[s, t] * (m.carry_usd[s] + energy))
                high.append(np.inf)
        for i, s in np.ndindex(len(towers), SERVICES):
            if towers[i] >= 0:
                names.append((int(m.towers.group[i]), s, 10 + i, m.towers.work_s[0, s]))
                cost.append(m.year[s, t] * m.towers.work_s[0, s] * m.towers.busy_usd[i])
                high.append(m.towers.customers[i] * m.rate[s, t])
        if not names:
            return np.inf
        equal = [[float(n[:2] == (g, s)) for n in names] for g, s in np.ndindex(2, SERVICES)]
        wanted = [m.demand[g, s, t] for g, s in np.ndindex(2, SERVICES)]
        room = [n * m.options.load[o] if o >= 0 else 0.0 for o, n in sites]
        rows = [[n[3] * (n[2] == k) for n in names] for k in range(len(sites))]
        for i, choice in enumerate(towers):
            extra = EXTRA[choice // len(PLANNED)] if choice >= 0 else 0
            room.append((m.towers.spare[i, t] + extra) * PLANNED[-1])
            rows.append([n[3] * (n[2] == 10 + i) for n in names])
        found = linprog(
            cost, rows, room, equal, wanted, bounds=[(0.0, h) for h in high], method="highs"
        )
        if not found.success:
            return np.inf
        total += found.fun
    return total
