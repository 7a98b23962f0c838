"""The fast planner: starts from several simple plans, and improves each by moving demand.

It needs no linear program. Hubs and factories are judged by what serving their flow would cost with
their best option, devices counted whole. Moves shift a group's demand for a service, or for all, in
whole or in part, to another candidate, as long as that saves something. Towers are ranked by what
they would save at the price of the sites above, and as many of the best as save most are taken.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.planning import fast_kernels as kernels
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.opening import open_sites
from aigrid.twin.planning.options import PLANNED, able_of
from aigrid.twin.planning.solution import Solution, account
from aigrid.twin.planning.towers import EXTRA, bins_of

Floats = NDArray[np.float64]
SWEEPS = 40
# Refusing costs more than serving ever could, where all that can be carried must be.
NEVER = 1e9
# So dear that only what needs no capital is worth it.
FREE_ONLY = 1e6
# Groups of a case that is worth more starts, and how many.
SMALL, MIXED = 16, 48
Heard = Callable[[int], None]


class Search:
    """State of one search; `prices` above 1 make capital dearer, to keep a budget.

    Args:
        model: to plan.
        all_demand: refuse nothing that can be carried.
        dear: further USD a year for a USD of capital.
    """

    def __init__(self, model: Model, all_demand: bool, dear: float = 0.0) -> None:
        self.model = model
        groups, candidates = model.near.shape
        services, periods = model.rate.shape
        o = model.options
        self._options = (o.least, o.most, o.load, o.work_s, o.keeps, o.busy)
        self._places = (model.allowed, model.room)
        self._capital = model.capital + dear
        self.price(dear)
        self._sink = np.full(services, NEVER) if all_demand else model.value_usd
        towers = model.towers
        self._columns = (
            towers.spare, towers.customers, towers.kind, towers.group, towers.work_s, towers.keeps,
            towers.lawful,
        )  # fmt: skip
        self._loads, self._extras = np.array(PLANNED), np.array(EXTRA, np.float64)
        self._bins = bins_of(towers)
        self.tower = np.full(len(towers), -1)
        self.own = np.zeros((len(towers), services, periods))
        self.order = np.full((groups, services), -1)
        self.room_usd = math.inf
        self.part = np.zeros((groups, candidates + 1, services))
        self.able = self._able()
        self._by_group = np.argsort(towers.group, kind="stable")
        self._edges = np.searchsorted(towers.group[self._by_group], np.arange(groups + 1))

    def _able(self) -> NDArray[np.bool_]:
        """(G, C, S) whether a candidate may and can serve a service of a group at all."""
        model = self.model
        keeps = able_of(model.allowed, model.options.keeps)
        g, c = np.nonzero(model.near >= 0)
        found = np.zeros((*model.near.shape, len(model.rate)), np.bool_)
        site = model.near[g, c]
        found[g, c] = keeps[site, :, model.path[g, c]] & model.lawful[site]
        return found

    def begin(self, ranks: tuple[int, ...], *, keeps_towers: bool = False) -> None:
        """Each service's demand to one of its candidates.

        Args:
            ranks: (S,) which of those that can serve it, the highest kind first; -1 for the last.
            keeps_towers: what towers serve stays with them.
        """
        model = self.model
        place = np.arange(model.near.shape[1])[None]
        height = np.where(model.near >= 0, model.kind[model.near] * 64, 10**6) + place
        self.part[:] = 0.0
        for s, rank in enumerate(ranks):
            order = np.argsort(np.where(self.able[:, :, s], height, 10**7), axis=1)
            count = self.able[:, :, s].sum(axis=1)
            chosen = count - 1 if rank < 0 else np.minimum(rank, count - 1)
            groups = np.arange(len(order))
            at = np.where(count > 0, order[groups, np.maximum(chosen, 0)], model.near.shape[1])
            self.part[groups, at, s] = 1.0
        if not keeps_towers:
            self.tower[:] = -1
            self.own[:] = 0.0

    def price(self, dear: float) -> None:
        """Make capital dearer, or as dear as it is."""
        model = self.model
        self._capital, price = model.capital + dear, model.price()
        each = price * self._capital + model.idle_usd()
        self._money = np.stack([each, model.run_usd(), price], axis=1)
        self._busy_usd = model.busy_usd()

    def close_poorest(self) -> bool:
        """Close the site that earns least for its capital; False where none is left."""
        model, left = self.model, self.left()
        flow, path = self.flows(left)
        costs, capital = self._costs(flow, path, soft=False)
        used = np.flatnonzero(capital > 0.0)
        if len(used) == 0:
            return False
        earned = (flow * model.year[None] * model.value_usd[:, None]).sum(axis=(1, 2))
        poorest = used[np.argmin((earned - costs)[used] / capital[used])]
        for g, c in np.argwhere(model.near == poorest):
            self.part[g, -1] += self.part[g, c]
            self.part[g, c] = 0.0
        return True

    def refuse_all(self) -> None:
        """Begin with nothing served."""
        self.part[:] = 0.0
        self.part[:, -1] = 1.0
        self.tower[:] = -1
        self.own[:] = 0.0

    def left(self) -> Floats:
        """(G, S, T) that no tower takes."""
        rest = self.model.demand
        np.subtract.at(rest, self.model.towers.group, self.own)
        return np.maximum(rest, 0.0)

    def flows(self, left: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """(K, S, T) requests a second at each site, and (K, S) the farthest path they come by."""
        model = self.model
        flow = np.zeros((len(model.site), *model.rate.shape))
        path = np.full((len(model.site), len(model.rate)), -1)
        each = self.part[:, :-1, :, None] * left[:, None]
        here = model.near >= 0
        np.add.at(flow, model.near[here], each[here])
        far = np.where(each.sum(axis=3) > 1e-12, model.path[:, :, None], -1)
        np.maximum.at(path, model.near[here], far[here])
        return flow, path

    def _costs(self, flow: Floats, path: NDArray[np.int64], soft: bool) -> tuple[Floats, Floats]:
        """Yearly cost and capital of each site."""
        m = self.model
        costs, capital = np.zeros(len(flow)), np.zeros(len(flow))
        for k in range(len(flow)):
            costs[k], o, n = kernels.site_cost(
                k, flow[k], path[k], m.year, m.carry_usd, self._places, self._options, self._money,
                soft,
            )  # fmt: skip
            capital[k] = n * self._money[o, 2] if o >= 0 else 0.0
        return costs, capital

    def cost_of(self, site: int, flow: Floats, path: NDArray[np.int64]) -> float:
        """USD a year of a site that serves a flow; a few devices are counted whole."""
        m = self.model
        cost, _, _ = kernels.site_cost(
            site, flow, path, m.year, m.carry_usd, self._places, self._options, self._money, True
        )
        return float(cost)

    def lost_usd(self, s: int, rate: Floats) -> float:
        """USD a year that refusing (T,) requests a second of a service is worth."""
        return float((rate * self.model.year[s]).sum() * self._sink[s])

    def improve(self, soft: bool) -> None:
        """Move demand until nothing more is saved."""
        model, left = self.model, self.left()
        for _ in range(SWEEPS):
            flow, path = self.flows(left)
            costs, capital = self._costs(flow, path, soft)
            moves = kernels.shift(
                model.near, model.path, self._places, model.lawful, left, self.part, flow, path,
                model.year, model.carry_usd, self._options, self._money, self._sink, soft, costs,
                capital, self.room_usd, self.able.any(axis=1),
            )  # fmt: skip
            if moves == 0:
                break

    def worth(self, left: Floats) -> Floats:
        """(G, S, T) USD a year that a planned request a second costs where it is served now."""
        model = self.model
        flow, path = self.flows(left)
        services, periods = left.shape[1:]
        per_site = np.zeros((len(model.site), services, periods))
        for k in range(len(model.site)):
            _, o, _ = kernels.site_cost(
                k, flow[k], path[k], model.year, model.carry_usd, self._places, self._options,
                self._money, False,
            )  # fmt: skip
            if o < 0:
                continue
            work = np.where(path[k] >= 0, model.options.work_s[o], 0.0)
            busiest = int((flow[k] * work[:, None]).sum(axis=0).argmax())
            energy = work * self._busy_usd[o] + model.carry_usd
            per_site[k] = energy[:, None] * model.year
            load = model.options.load[o] / model.room[k]
            per_site[k, :, busiest] += work / load * self._money[o, 0]
        refused = self._sink[:, None] * model.year
        found = np.zeros_like(left)
        for c in range(model.near.shape[1]):
            at = np.where(model.near[:, c] >= 0, model.near[:, c], 0)
            found += self.part[:, c, :, None] * per_site[at]
        return np.asarray(found + self.part[:, -1, :, None] * refused[None])

    def take_towers(self) -> None:
        """Let the towers serve that save most, group by group."""
        model, towers = self.model, self.model.towers
        if len(towers) == 0:
            return
        self.own[:] = 0.0
        left = self.left()
        worth = self.worth(left)
        work = np.ones_like(model.rate[:, 0])
        if len(towers.work_s):
            work = towers.work_s.min(axis=0)
        self.order = np.argsort(-worth.max(axis=2) / work[None], axis=1, kind="stable")
        choice, net = np.full(len(towers), -1), np.zeros(len(towers))
        money = (towers.first_usd, towers.price_usd, towers.idle_usd, towers.busy_usd)
        kernels.rank(
            self._columns, (*money, self._capital), self._loads, self._extras, self._bins,
            model.rate, model.year, self.order, worth, choice, net,
        )  # fmt: skip
        own = np.zeros_like(self.own)
        kernels.fill_all(
            choice, self._columns, self._loads, self._extras, self._bins, model.rate, self.order,
            own,
        )  # fmt: skip
        fixed = self._tower_cost(choice, own)
        self.tower[:] = -1
        flow, path = self.flows(left)
        costs, _ = self._costs(flow, path, True)
        for g in range(len(model.near)):
            self._take_of_group(g, left, choice, net, own, fixed, flow, path, costs)

    def _tower_cost(self, choice: NDArray[np.int64], own: Floats) -> Floats:
        model, towers = self.model, self.model.towers
        extra = np.array(EXTRA)[np.maximum(choice, 0) // len(PLANNED)]
        work = np.where(towers.work_s < 1e8, towers.work_s, 0.0)[towers.kind]
        fixed = (towers.first_usd + extra * towers.price_usd) * self._capital
        fixed = fixed + extra * towers.idle_usd
        busy = ((own * model.year[None]).sum(axis=2) * work).sum(axis=1) * towers.busy_usd
        return np.where(choice >= 0, fixed + busy, 0.0)

    def _take_of_group(self, g, left, choice, net, own, fixed, flow, path, costs) -> None:  # type: ignore[no-untyped-def]
        model = self.model
        mine = self._by_group[self._edges[g] : self._edges[g + 1]]
        mine = mine[choice[mine] >= 0]
        if len(mine) == 0:
            return
        mine = mine[np.argsort(-net[mine], kind="stable")]
        taken = np.cumsum(own[mine], axis=0)
        paid = np.cumsum(fixed[mine])
        best, size = 1e-6, 0
        tries = sorted({max(round(len(mine) * f), 1) for f in (1, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05)})
        sites = [(c, int(k)) for c, k in enumerate(model.near[g]) if k >= 0]
        for n in tries:
            gone = np.minimum(taken[n - 1], left[g])
            saved = -float(paid[n - 1])
            saved += float(
                (gone * self.part[g, -1][:, None] * model.year * self._sink[:, None]).sum()
            )
            for c, k in sites:
                if not self.part[g, c].any():
                    continue
                rest = np.maximum(flow[k] - gone * self.part[g, c][:, None], 0.0)
                cost, _, _ = kernels.site_cost(
                    k, rest, path[k], model.year, model.carry_usd, self._places, self._options,
                    self._money, True,
                )  # fmt: skip
                saved += costs[k] - cost
            if saved > best:
                best, size = saved, n
        if size == 0:
            return
        self.tower[mine[:size]] = choice[mine[:size]]
        self.own[mine[:size]] = own[mine[:size]]
        gone = np.minimum(taken[size - 1], left[g])
        for c, k in sites:
            flow[k] = np.maximum(flow[k] - gone * self.part[g, c][:, None], 0.0)
            costs[k], _, _ = kernels.site_cost(
                k, flow[k], path[k], model.year, model.carry_usd, self._places, self._options,
                self._money, True,
            )  # fmt: skip

    def solution(self, seconds: float) -> Solution:
        """What was found, as a plan."""
        model, left = self.model, self.left()
        flow, path = self.flows(left)
        option = np.full(len(model.site), -1)
        count = np.zeros(len(model.site), np.int64)
        for k in range(len(model.site)):
            _, option[k], count[k] = kernels.site_cost(
                k, flow[k], path[k], model.year, model.carry_usd, self._places, self._options,
                self._money, False,
            )  # fmt: skip
        upward = self.part[:, :-1, :, None] * left[:, None]
        upward[(option[model.near] < 0) | (model.near < 0)] = 0.0
        return Solution(option, count, upward, self.tower.copy(), self.own.copy(), "fast", seconds)


def plan(
    model: Model,
    all_demand: bool,
    dear: float = 0.0,
    heard: Heard | None = None,
    *,
    thorough: bool = True,
) -> Solution:
    """The best plan that was found from all starts.

    Args:
        model: of any size.
        all_demand: carry all that can be carried; else what earns more than it costs.
        dear: further USD a year for a USD of capital.
        heard: is told of every start that is done.
        thorough: more starts where the case is small.
    """
    began = time.perf_counter()
    best, least = None, math.inf
    for ranks, towers_first in starts(model, thorough):
        search = Search(model, all_demand, dear)
        search.begin(ranks)
        if towers_first:
            search.take_towers()
        search.improve(soft=True)
        search.take_towers()
        search.improve(soft=True)
        search.improve(soft=False)
        found = [search.solution(time.perf_counter() - began)]
        if open_sites(search):
            search.improve(soft=False)
            found.append(search.solution(time.perf_counter() - began))
        for one in found:
            cost = judged(model, one, all_demand, dear)
            if cost < least:
                best, least = one, cost
        if heard:
            heard(1)
    assert best is not None
    return timed(best, time.perf_counter() - began)


def starts(model: Model, thorough: bool) -> list[tuple[tuple[int, ...], bool]]:
    """Where each service begins, and whether towers are filled first; more for a small case."""
    services = len(model.rate)
    found = [((rank,) * services, False) for rank in (0, -1)]
    if len(model.towers):
        found += [(ranks, True) for ranks, _ in found]
    if thorough and len(model.near) <= SMALL:
        mixed = list(itertools.product(range(model.near.shape[1]), repeat=services))
        step = max(len(mixed) // MIXED, 1)
        found += [(ranks, bool(len(model.towers))) for ranks in mixed[::step]]
    return found


def judged(model: Model, found: Solution, all_demand: bool, dear: float) -> float:
    """What a plan costs a year less what it earns, capital made dearer by a factor."""
    money = account(model, found)
    earns = NEVER if all_demand else 1.0
    return money.cost_usd + dear * money.capital_usd - earns * money.revenue_usd


def timed(found: Solution, seconds: float) -> Solution:
    """The same, with the time that it took."""
    return replace(found, seconds=seconds)
