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
from aigrid.twin.planning.towers import EXTRA, bins_of

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
        where = model.allowed[:, o]
        if not where.any():
            continue
        load = float(options.load[o] / model.room[where].min())
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
                [*(work for _, work in flows), -load],
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
    prices = np.stack([towers.price_usd, towers.first_usd, towers.kind], axis=1)
    _, class_of = np.unique(prices, axis=0, return_inverse=True)
    for one in range(int(class_of.max()) + 1):
        for extra in range(len(EXTRA)):
            mine = np.flatnonzero(class_of.reshape(-1) == one)
            _add_class(model, rows, earn, served, capital, mine, extra)


def _add_class(
    model: Model,
    rows: Program,
    earn: Floats,
    served: list[list[int]],
    capital: list[tuple[int, float]],
    mine: NDArray[np.int64],
    extra: int,
) -> None:
    """Towers with the same prices and the same number of added devices, as one."""
    towers, periods = model.towers, model.rate.shape[1]
    room = (towers.spare[mine] + EXTRA[extra]) * max(PLANNED)
    spent = towers.first_usd[mine] + EXTRA[extra] * towers.price_usd[mine]
    yearly = spent * model.capital + EXTRA[extra] * towers.idle_usd[mine]
    # Seconds of device time cost no less than at the cheapest tower, in every period.
    unit = (yearly[:, None] / np.maximum(room, 1e-12)).min(axis=0)
    capital_unit = (spent[:, None] / np.maximum(room, 1e-12)).min(axis=0)
    own = _own(model, mine, extra)
    y, z = (int(rows.add([cost], 0.0, math.inf)[0]) for cost in (1.0, 0.0))
    capital.append((z, 1.0))
    works = towers.work_s[towers.kind[mine[0]]]
    flows = []
    for s in range(len(model.rate)):
        if not own[s].any():
            continue
        cost = model.year[s] * works[s] * float(towers.busy_usd[mine].min()) - earn[s]
        flows.append((rows.add(cost, 0.0, own[s]), float(works[s])))
        for t in range(periods):
            served[s * periods + t].append(int(flows[-1][0][t]))
    for t in range(periods):
        columns, each = [int(f[t]) for f, _ in flows], [work for _, work in flows]
        rows.row(columns, each, 0.0, float(room[:, t].sum()))
        for column, price in ((y, unit[t]), (z, capital_unit[t])):
            rows.row([*columns, column], [*(w * price for w in each), -1.0], -math.inf, 0.0)


def _own(model: Model, mine: NDArray[np.int64], extra: int) -> Floats:
    """(S, T) demand at the towers that can keep its promises at all."""
    towers = model.towers
    bins = bins_of(towers)[mine, extra]
    anywhere: NDArray[np.bool_] = np.max(towers.keeps, axis=1)
    keeps = anywhere[towers.kind[mine][:, None], bins].transpose(0, 2, 1)
    keeps = keeps & towers.lawful[mine][:, :, None]
    own: Floats = np.einsum("nst,n->st", keeps, towers.customers[mine]) * model.rate
    return own
