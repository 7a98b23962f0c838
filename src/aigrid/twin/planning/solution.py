"""What was decided, its cost, and the rules that it keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid.checks import RuleBrokenError
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import PLANNED
from aigrid.twin.planning.towers import EXTRA, bins_of
from aigrid.twin.planning.use import in_use, mean_load, period_s

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Solution:
    """Columns of a `Model`.

    Attributes:
        option: (K,) of each hub and factory; -1 where nothing is bought.
        count: (K,) devices.
        upward: (G, C, S, T) requests a second that each candidate serves of a group.
        tower: (N,) choice of each tower, extra x loads + load; -1 where it serves nothing.
        own: (N, S, T) requests a second that each tower serves itself.
        method: `exact` or `fast`.
        seconds: it took.
        bound_usd: no plan costs less a year; -inf where that is not known.
    """

    option: Ints
    count: Ints
    upward: Floats
    tower: Ints
    own: Floats
    method: str
    seconds: float = 0.0
    bound_usd: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Account:
    """A year in USD, as planned.

    Attributes:
        capital_usd: spent once.
        capital_a_year_usd: its write-off and upkeep.
        energy_usd: of what is bought, and of AI at towers.
        network_usd: tokens carried to hubs and factories.
        revenue_usd: of what is carried.
    """

    capital_usd: float
    capital_a_year_usd: float
    energy_usd: float
    network_usd: float
    revenue_usd: float

    @property
    def cost_usd(self) -> float:
        """Of a year."""
        return self.capital_a_year_usd + self.energy_usd + self.network_usd

    @property
    def profit_usd(self) -> float:
        """Of a year."""
        return self.revenue_usd - self.cost_usd


def carried(model: Model, found: Solution) -> Floats:
    """(G, S, T) requests a second that are served."""
    total = found.upward.sum(axis=1)
    np.add.at(total, model.towers.group, found.own)
    return np.asarray(total, np.float64)


def loads(model: Model, found: Solution) -> Floats:
    """(K, S, T) requests a second at each hub and factory."""
    total = np.zeros((len(model.site), *model.rate.shape))
    here = model.near >= 0
    np.add.at(total, model.near[here], found.upward[here])
    return total


def extras(found: Solution) -> Ints:
    """(N,) devices added at each tower."""
    return np.where(found.tower >= 0, np.array(EXTRA)[found.tower // len(PLANNED)], 0)


def tower_capital_usd(model: Model, found: Solution) -> Floats:
    """(N,) capital of AI at each tower."""
    towers = model.towers
    added = towers.first_usd + extras(found) * towers.price_usd
    return np.where(found.tower >= 0, added, 0.0)


def site_capital_usd(model: Model, found: Solution) -> Floats:
    """(K,) capital of each hub and factory."""
    capital = np.zeros(len(found.option))
    used = found.option >= 0
    capital[used] = model.price()[found.option[used]] * found.count[used]
    return capital


def account(model: Model, found: Solution) -> Account:
    """Its money."""
    towers = model.towers
    capital = float(site_capital_usd(model, found).sum() + tower_capital_usd(model, found).sum())
    energy = float((extras(found) * towers.idle_usd).sum())
    energy += float((running_towers(model, found) * towers.run_usd).sum())
    used = np.flatnonzero(found.option >= 0)
    chosen = found.option[used]
    yearly = (loads(model, found)[used] * model.year[None]).sum(axis=2)
    if len(used):
        energy += float((model.idle_usd()[chosen] * found.count[used]).sum())
        run = uses(model, found)[used].mean(axis=1) * found.count[used]
        energy += float((model.run_usd()[chosen] * run).sum())
    return Account(
        capital,
        capital * model.capital,
        energy,
        float((yearly * model.carry_usd[None]).sum()),
        float(
            ((carried(model, found) * model.year[None]).sum(axis=(0, 2)) * model.value_usd).sum()
        ),
    )


def uses(model: Model, found: Solution) -> Floats:
    """(K, T) part of the time that something runs at each hub and factory; 0 where none stands."""
    options, used = model.options, found.option >= 0
    chosen = found.option[used]
    flow, run = loads(model, found), np.zeros((len(used), model.rate.shape[1]))
    load = mean_load(
        flow[used],
        model.year,
        _finite(options.work_s[chosen]),
        found.count[used, None].astype(np.float64),
    )
    run[used] = in_use(options.busy[chosen], load)
    return run


def straight_usd(model: Model, found: Solution) -> float:
    """Cost of a year if energy were proportional to work, at the least that work can take."""
    money, towers = account(model, found), model.towers
    used = np.flatnonzero(found.option >= 0)
    chosen = found.option[used]
    yearly = (loads(model, found)[used] * model.year[None]).sum(axis=2)
    work = np.where(yearly > 0.0, model.options.work_s[chosen], 0.0)
    energy = float((extras(found) * towers.idle_usd).sum())
    energy += float((model.idle_usd()[chosen] * found.count[used]).sum())
    energy += float(((yearly * work).sum(axis=1) * model.busy_usd()[chosen]).sum())
    if len(towers):
        busy = (found.own * model.year[None]).sum(axis=2)
        energy += float((busy * _works(model) * towers.busy_usd[:, None]).sum())
    return money.cost_usd - money.energy_usd + energy


def running_towers(model: Model, found: Solution) -> Floats:
    """(N,) seconds of a year in which devices run AI, all devices of a tower together."""
    towers = model.towers
    if len(towers) == 0:
        return np.zeros(0)
    size = towers.spare + extras(found)[:, None]
    load = mean_load(found.own, model.year, _works(model), size)
    run = in_use(towers.busy[towers.kind], load) * size * (load > 0.0)
    return np.asarray(run.sum(axis=1) * period_s(model.rate.shape[1]), np.float64)


def _works(model: Model) -> Floats:
    work = model.towers.work_s[model.towers.kind]
    return np.where(work < 1e8, work, 0.0)


def check(model: Model, found: Solution) -> None:
    """Every promise of a plan: demand, capacity, memory, promises, sovereignty, counts.

    Raises:
        RuleBrokenError: one is broken; the plan must not be shown.
    """
    over = carried(model, found) - model.demand
    _rule(
        over.max(initial=0.0) <= ROUNDING * max(model.demand.max(), 1.0), "serves more than comes"
    )
    _rule(found.upward.min(initial=0.0) >= -ROUNDING, "serves less than nothing")
    _rule(found.own.min(initial=0.0) >= -ROUNDING, "serves less than nothing at a tower")
    _check_sites(model, found)
    _check_towers(model, found)


def _check_sites(model: Model, found: Solution) -> None:
    at = loads(model, found)
    none = found.option < 0
    _rule(at[none].sum() <= ROUNDING, "serves where nothing stands")
    _rule(np.all(found.count[none] == 0), "buys devices of no kind")
    options = model.options
    used = np.flatnonzero(~none)
    if len(used) == 0:
        return
    chosen, count = found.option[used], found.count[used]
    _rule(np.all(options.kind[chosen] == model.kind[used]), "buys for another kind of site")
    _rule(np.all(model.allowed[used, chosen]), "buys what fell short there in a rehearsal")
    fits = (count >= options.least[chosen]) & (count <= options.most[chosen])
    _rule(np.all(fits), "buys a number of devices that its option does not cover")
    busy = (np.maximum(at[used], 0.0) * _finite(options.work_s[chosen])[:, :, None]).sum(axis=1)
    room = (count * options.load[chosen] / model.room[used])[:, None]
    _rule(np.all(busy <= room * (1.0 + ROUNDING) + ROUNDING), "plans more than a site can do")
    serves = (found.upward > ROUNDING).any(axis=3) & (model.near >= 0)[:, :, None]
    g, c, s = np.nonzero(serves)
    site = model.near[g, c]
    _rule(np.all(options.keeps[found.option[site], s, model.path[g, c]]), "breaks a promise")
    _rule(np.all(model.lawful[site, s]), "serves where it may not")


def _check_towers(model: Model, found: Solution) -> None:
    towers = model.towers
    _rule(np.all(found.own[found.tower < 0] <= ROUNDING), "serves at a tower without AI")
    used = np.flatnonzero(found.tower >= 0)
    if len(used) == 0:
        return
    own, choice = found.own[used], found.tower[used]
    mine = towers.customers[used, None, None] * model.rate[None]
    _rule(np.all(own <= mine * (1.0 + ROUNDING) + ROUNDING), "a tower serves more than comes")
    extra, level = choice // len(PLANNED), choice % len(PLANNED)
    size = towers.spare[used] + np.array(EXTRA)[extra][:, None]
    busy = (own * _works(model)[used][:, :, None]).sum(axis=1)
    room = size * np.array(PLANNED)[level][:, None]
    _rule(np.all(busy <= room * (1.0 + ROUNDING) + ROUNDING), "plans more than a tower can do")
    bins = bins_of(towers)[used, extra]
    keeps = towers.keeps[towers.kind[used][:, None], level[:, None], bins].transpose(0, 2, 1)
    keeps = keeps & towers.lawful[used][:, :, None]
    _rule(np.all((own <= ROUNDING) | keeps), "breaks a promise at a tower")


def _finite(work_s: Floats) -> Floats:
    return np.where(work_s < 1e8, work_s, 0.0)


def _rule(holds: object, broken: str) -> None:
    if not holds:
        raise RuleBrokenError(f"the plan {broken}", next_step="report it; the plan is not shown")
