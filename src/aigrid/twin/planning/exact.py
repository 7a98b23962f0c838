"""The cheapest plan as a mixed-integer program, by HiGHS.

For each hub and factory k, option o: y (bought or not), n (devices, least * y <= n <= most * y) and
v, the requests of each service, path bin and period; sum of work * v <= load * n. What groups send
to k is what its options serve. Towers have y for each choice and what they serve of their own.
Energy rises with use, which is no straight line (`use`): here it is proportional to work, at the
least that work can take, so that no plan costs less than the bound.
Huangfu and Hall, "Parallelizing the dual revised simplex method", 2018, describe HiGHS.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError, UnavailableError
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import PLANNED
from aigrid.twin.planning.program import Program
from aigrid.twin.planning.solution import Solution
from aigrid.twin.planning.towers import EXTRA, bins_of

VARIABLES_LIMIT = 400_000
GAP = 1e-4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the program looks for.

    Attributes:
        all_demand: carry all that can be carried, at least cost; else most profit.
        budget_usd: of capital.
        least: (G, S, T) requests a second that must be carried, where all must.
    """

    all_demand: bool
    budget_usd: float
    least: NDArray[np.float64]


def solve(
    model: Model,
    wanted: Wanted,
    limit_s: float = 60.0,
    begin: Solution | None = None,
) -> Solution | None:
    """The best plan, or the best one found within the time, with its bound.

    Args:
        model: small.
        wanted: what is looked for.
        limit_s: seconds.
        begin: a plan that is known already, to begin with.

    Returns:
        None where no plan does what is wanted.

    Raises:
        ConfigurationError: too large.
        UnavailableError: no plan was found in time.
    """
    began = time.perf_counter()
    program = _Layout(model, wanted)
    if program.rows.columns > VARIABLES_LIMIT:
        raise ConfigurationError(
            f"{program.rows.columns:,} variables are too many to solve exactly",
            next_step=f"leave --exact out, or plan fewer sites (limit {VARIABLES_LIMIT:,})",
        )
    values, bound = program.rows.solve(limit_s, GAP, start=program.start(begin))
    if values is None:
        if math.isnan(bound):
            raise UnavailableError(
                f"no plan was found within {limit_s:g} s", next_step="raise --limit, or use --fast"
            )
        return None
    return program.solution(values, time.perf_counter() - began, bound)


def size(model: Model) -> int:
    """About how many variables the program has."""
    services, periods = model.rate.shape
    per_site = np.array([(model.options.kind == kind).sum() for kind in (0, 1, 2)])
    sites = int(per_site[np.minimum(model.kind, 2)].sum())
    bins = 2
    towers = len(model.towers) * (services * periods + len(EXTRA) * len(PLANNED))
    flows = sites * services * periods * bins + model.near.size * services * periods
    return int(flows + towers)


class _Layout:
    """Variables and rows of the program, and the way back from values to a plan."""

    def __init__(self, model: Model, wanted: Wanted) -> None:
        self.model, self.rows = model, Program()
        self._sites: list[tuple[int, int, int, int]] = []  # site, option, column of y, of n
        self._up: list[tuple[int, int, int, NDArray[np.int64]]] = []  # group, cand, service, (T,)
        self._choice: list[tuple[int, int, int]] = []  # tower, choice, column
        self._own: list[tuple[int, int, NDArray[np.int64]]] = []  # tower, service, (T,)
        self._capital: list[tuple[int, float]] = []
        periods = model.rate.shape[1]
        # Profit: what is served earns; otherwise all that can be is served.
        earns = 0.0 if wanted.all_demand else 1.0
        self._earn = earns * model.value_usd[:, None] * model.year
        sums: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
        self._add_groups(sums)
        self._add_sites()
        self._add_towers(sums)
        for (g, s), columns in sums.items():
            for t in range(periods):
                most = float(model.demand[g, s, t])
                least = float(wanted.least[g, s, t]) if wanted.all_demand else 0.0
                self.rows.row([int(c[t]) for c in columns], [1.0] * len(columns), least, most)
        if math.isfinite(wanted.budget_usd):
            columns_of, prices = zip(*self._capital, strict=True) if self._capital else ((), ())
            self.rows.row(list(columns_of), list(prices), 0.0, wanted.budget_usd)

    def _add_groups(self, sums: dict[tuple[int, int], list[NDArray[np.int64]]]) -> None:
        model = self.model
        self._inflow: dict[tuple[int, int, int], list[NDArray[np.int64]]] = {}
        for g, c in np.argwhere(model.near >= 0):
            site, path = int(model.near[g, c]), int(model.path[g, c])
            here = model.allowed[site]
            for s in range(len(model.rate)):
                able = bool((model.options.keeps[here, s, path]).any())
                if not able or not model.lawful[site, s] or not model.rate[s].any():
                    continue
                cost = model.carry_usd[s] * model.year[s] - self._earn[s]
                columns = self.rows.add(cost, 0.0, model.demand[g, s])
                self._up.append((int(g), int(c), s, columns))
                self._inflow.setdefault((site, s, path), []).append(columns)
                sums.setdefault((int(g), s), []).append(columns)

    def _add_sites(self) -> None:
        model, options, rows = self.model, self.model.options, self.rows
        price, idle, busy = model.price(), model.idle_usd(), model.busy_usd()
        periods = model.rate.shape[1]
        by_site: dict[int, list[tuple[int, int]]] = {}
        for site, s, path in self._inflow:
            by_site.setdefault(site, []).append((s, path))
        for site, flows in by_site.items():
            ys = []
            parts: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
            demand = sum(float(model.demand[:, s].max(axis=1).sum()) for s, _ in set(flows))
            for o in np.flatnonzero(model.allowed[site]):
                able = [(s, p) for s, p in flows if options.keeps[o, s, p]]
                if not able:
                    continue
                room = float(options.load[o] / model.room[site])
                need = max(options.work_s[o, s] for s, _ in able) * demand / room
                most = float(min(options.most[o], max(np.ceil(need), options.least[o])))
                y = int(rows.add([0.0], 0.0, 1.0, whole=True)[0])
                cost = price[o] * model.capital + idle[o]
                n = int(rows.add([cost], 0.0, most, whole=True)[0])
                ys.append(y)
                self._sites.append((site, int(o), y, n))
                self._capital.append((n, float(price[o])))
                rows.row([n, y], [1.0, -float(options.least[o])], 0.0, math.inf)
                rows.row([n, y], [1.0, -most], -math.inf, 0.0)
                used: list[NDArray[np.int64]] = []
                work: list[float] = []
                for s, p in able:
                    each = float(options.work_s[o, s])
                    columns = rows.add(model.year[s] * each * busy[o], 0.0, math.inf)
                    parts.setdefault((s, p), []).append(columns)
                    used.append(columns)
                    work.append(each)
                for t in range(periods):
                    rows.row(
                        [*(int(u[t]) for u in used), n],
                        [*work, -room],
                        -math.inf,
                        0.0,
                    )
            rows.row(ys, [1.0] * len(ys), 0.0, 1.0)
            for s, p in flows:
                into, out = self._inflow[site, s, p], parts.get((s, p), [])
                for t in range(periods):
                    rows.row(
                        [*(int(i[t]) for i in into), *(int(o[t]) for o in out)],
                        [1.0] * len(into) + [-1.0] * len(out),
                        0.0,
                        0.0,
                    )

    def _add_towers(self, sums: dict[tuple[int, int], list[NDArray[np.int64]]]) -> None:
        model, towers, rows = self.model, self.model.towers, self.rows
        services, periods = model.rate.shape
        bins = bins_of(towers)
        for i in range(len(towers)):
            work, mine = towers.work_s[towers.kind[i]], towers.customers[i] * model.rate
            choices: list[tuple[int, NDArray[np.float64], NDArray[np.bool_]]] = []
            for choice in range(len(EXTRA) * len(PLANNED)):
                extra, level = divmod(choice, len(PLANNED))
                keeps = towers.keeps[towers.kind[i], level][bins[i, extra]].T
                keeps = keeps & towers.lawful[i][:, None]
                room = (towers.spare[i] + EXTRA[extra]) * PLANNED[level]
                keeps &= (room > 0.0)[None, :]
                if not keeps.any():
                    continue
                capital = float(towers.first_usd[i] + EXTRA[extra] * towers.price_usd[i])
                cost = capital * model.capital + EXTRA[extra] * towers.idle_usd[i]
                y = int(rows.add([cost], 0.0, 1.0, whole=True)[0])
                self._choice.append((i, choice, y))
                self._capital.append((y, capital))
                choices.append((y, room, keeps))
            if not choices:
                continue
            rows.row([y for y, _, _ in choices], [1.0] * len(choices), 0.0, 1.0)
            own = {}
            for s in range(services):
                if not any(keeps[s].any() for _, _, keeps in choices):
                    continue
                cost_s = model.year[s] * work[s] * towers.busy_usd[i] - self._earn[s]
                own[s] = rows.add(cost_s, 0.0, mine[s])
                self._own.append((i, s, own[s]))
                sums.setdefault((int(towers.group[i]), s), []).append(own[s])
                for t in range(periods):
                    able = [y for y, _, keeps in choices if keeps[s, t]]
                    rows.row(
                        [int(own[s][t]), *able],
                        [1.0] + [-float(mine[s, t])] * len(able),
                        -math.inf,
                        0.0,
                    )
            for t in range(periods):
                rows.row(
                    [*(int(c[t]) for c in own.values()), *(y for y, _, _ in choices)],
                    [*(float(work[s]) for s in own), *(-float(room[t]) for _, room, _ in choices)],
                    -math.inf,
                    0.0,
                )

    def start(self, begin: Solution | None) -> dict[int, float] | None:
        """Columns of what a plan buys; what it serves follows from that."""
        if begin is None:
            return None
        found = {}
        for site, o, y, n in self._sites:
            chosen = begin.option[site] == o
            found[y], found[n] = float(chosen), float(begin.count[site]) if chosen else 0.0
        for i, choice, y in self._choice:
            found[y] = float(begin.tower[i] == choice)
        return found

    def solution(self, values: NDArray[np.float64], seconds: float, bound: float) -> Solution:
        """A plan from the values of the variables."""
        model = self.model
        services, periods = model.rate.shape
        option = np.full(len(model.site), -1)
        count = np.zeros(len(model.site), np.int64)
        for site, o, _, n in self._sites:
            devices = round(values[n])
            if devices > 0:
                option[site], count[site] = o, devices
        upward = np.zeros((*model.near.shape, services, periods))
        for g, c, s, columns in self._up:
            upward[g, c, s] = np.maximum(values[columns], 0.0)
        tower = np.full(len(model.towers), -1)
        for i, choice, y in self._choice:
            if values[y] > 0.5:
                tower[i] = choice
        own = np.zeros((len(model.towers), services, periods))
        for i, s, columns in self._own:
            own[i, s] = np.maximum(values[columns], 0.0)
        return Solution(option, count, upward, tower, own, "exact", seconds, bound)
