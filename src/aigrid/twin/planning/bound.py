"""A cost that no plan can beat: all sites of a kind as one, devices in parts.

What is left out only makes plans dearer: where sites are, whole devices, lowest numbers of them.
Towers as one give what all of them together have left, at the price of the cheapest among them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.planning.exact import Wanted
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import PLANNED
from aigrid.twin.planning.program import Program
from aigrid.twin.planning.towers import EXTRA, Towers

Floats = NDArray[np.float64]


def least_usd(model: Model, wanted: Wanted, limit_s: float = 60.0) -> float:
    """Cost of a year (less revenue, where not all must be carried) that no plan can beat.

    Returns:
        -inf where that was not found in time.
    """
    rows = Program()
    services, periods = model.rate.shape
    options = model.options
    earns = 0.0 if wanted.all_demand else 1.0
    earn = earns * model.value_usd[:, None] * model.year
    nearest = _nearest(model)
    price, idle, busy = model.price(), model.idle_usd(), model.busy_usd()
    served: list[list[int]] = [[] for _ in range(services * periods)]
    capital: list[tuple[int, float]] = []
    for o in range(len(options)):
        able = [
            s
            for s in range(services)
            if nearest[options.kind[o], s] >= 0 and options.keeps[o, s, nearest[options.kind[o], s]]
        ]
        if not able:
            continue
        n = int(rows.add([price[o] * model.capital + idle[o]], 0.0, math.inf)[0])
        capital.append((n, float(price[o])))
        flows = []
        for s in able:
            work = float(options.work_s[o, s])
            cost = model.year[s] * (work * busy[o] + model.carry_usd[s]) - earn[s]
            flows.append((rows.add(cost, 0.0, math.inf), work))
            for t in range(periods):
                served[s * periods + t].append(int(flows[-1][0][t]))
        for t in range(periods):
            rows.row(
                [*(int(f[t]) for f, _ in flows), n],
                [*(work for _, work in flows), -float(options.load[o])],
                -math.inf,
                0.0,
            )
    _add_towers(model, rows, earn, served, capital)
    most, least = model.demand.sum(axis=0), wanted.least.sum(axis=0)
    for s in range(services):
        for t in range(periods):
            columns = served[s * periods + t]
            low = min(float(least[s, t]), float(most[s, t])) if wanted.all_demand else 0.0
            rows.row(columns, [1.0] * len(columns), low, float(most[s, t]))
    if math.isfinite(wanted.budget_usd) and capital:
        rows.row([c for c, _ in capital], [p for _, p in capital], 0.0, wanted.budget_usd)
    values, bound = rows.solve(limit_s, 0.0, relaxed=True)
    return bound if values is not None else -math.inf


def _nearest(model: Model) -> NDArray[np.int64]:
    """(kinds, S) nearest path bin from which some group may reach a kind; -1 for none."""
    found = np.full((3, len(model.rate)), 10**6)
    g, c = np.nonzero(model.near >= 0)
    site = model.near[g, c]
    for s in range(len(model.rate)):
        may = model.lawful[site, s]
        np.minimum.at(found[:, s], model.kind[site][may], model.path[g, c][may])
    return np.where(found >= 10**6, -1, found)


def _add_towers(
    model: Model,
    rows: Program,
    earn: Floats,
    served: list[list[int]],
    capital: list[tuple[int, float]],
) -> None:
    towers = model.towers
    if len(towers) == 0:
        return
    periods = model.rate.shape[1]
    for extra in EXTRA:
        room = (towers.spare + extra) * max(PLANNED)
        spent = towers.first_usd + extra * towers.price_usd
        yearly = spent * model.capital + extra * towers.idle_usd
        # Seconds of device time cost no less than at the cheapest tower, in every period.
        unit = (yearly[:, None] / np.maximum(room, 1e-12)).min(axis=0)
        capital_unit = (spent[:, None] / np.maximum(room, 1e-12)).min(axis=0)
        all_room = room.sum(axis=0)
        y = int(rows.add([1.0], 0.0, math.inf)[0])
        z = int(rows.add([0.0], 0.0, math.inf)[0])
        capital.append((z, 1.0))
        flows = []
        for s in range(len(model.rate)):
            work = float(towers.work_s[:, s].min())
            if work >= 1e8 or not _kept_somewhere(towers, s):
                continue
            cost = model.year[s] * work * float(towers.busy_usd.min()) - earn[s]
            flows.append((rows.add(cost, 0.0, model.demand[:, s].sum(axis=0)), work))
            for t in range(periods):
                served[s * periods + t].append(int(flows[-1][0][t]))
        for t in range(periods):
            columns, works = [int(f[t]) for f, _ in flows], [work for _, work in flows]
            rows.row(columns, works, 0.0, float(all_room[t]))
            for column, price in ((y, unit[t]), (z, capital_unit[t])):
                rows.row([*columns, column], [*(w * price for w in works), -1.0], -math.inf, 0.0)


def _kept_somewhere(towers: Towers, s: int) -> bool:
    return bool(towers.keeps[..., s].any() and towers.lawful[:, s].any())
