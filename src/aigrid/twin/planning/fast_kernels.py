# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""The inner loops of the fast planner, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.planning.towers import fill

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
NOTHING = -1
# From here on, moves reckon with parts of devices: no single move would ever save a whole one.
SOFT_FROM = 8
ENOUGH = 1e-12
YEAR_S = 365.25 * 86_400.0


@njit(**_OPTIONS)
def site_cost(site, flow, path, year, carry, sites, options, money, soft):
    """Least cost a year of a site that serves `flow`: cost, option, devices.

    Args:
        site: row of `sites`.
        flow: (S, T) requests a second.
        path: (S,) farthest path bin served; -1 where nothing is.
        year: (S, T) requests of a year for one a second.
        carry: (S,) USD of a request.
        sites: (K, O) options that a site may have, and (K,) devices for one that is needed.
        options: least, most, load, work_s, keeps, busy.
        money: (O, 3) of a device a year with its idle energy; of one that runs all year; capital.
        soft: whether many devices are counted in parts.
    """
    allowed, room = sites
    least, most, load, work_s, keeps, busy = options
    services, periods = flow.shape
    best, option, devices = np.inf, NOTHING, 0
    total, carried = 0.0, 0.0
    for s in range(services):
        if path[s] < 0:
            continue
        for t in range(periods):
            total += flow[s, t]
            carried += flow[s, t] * year[s, t] * carry[s]
    if total <= ENOUGH:
        return 0.0, NOTHING, 0
    for o in range(len(least)):
        if not allowed[site, o]:
            continue
        able = True
        for s in range(services):
            if path[s] >= 0:
                able = able and keeps[o, s, path[s]]
        if not able:
            continue
        peak = 0.0
        for t in range(periods):
            now = 0.0
            for s in range(services):
                if path[s] >= 0:
                    now += flow[s, t] * work_s[o, s]
            peak = max(peak, now)
        need = peak * room[site] / load[o]
        count = max(np.ceil(need - 1e-9), float(least[o]))
        if count > most[o]:
            continue
        paid = max(need, float(least[o])) if soft and need >= SOFT_FROM else count
        cost = paid * money[o, 0] + carried
        if cost >= best:
            continue
        cost += _running(flow, path, year, work_s[o], busy[o], paid) * money[o, 1]
        if cost < best:
            best, option, devices = cost, o, int(count)
    return best, option, devices


@njit(**_OPTIONS)
def _running(flow, path, year, work_s, busy, devices):
    """Devices that run something, mean over the year: as `use.in_use` has it."""
    services, periods = flow.shape
    steps, found = len(busy) - 1, 0.0
    for t in range(periods):
        seconds = 0.0
        for s in range(services):
            if path[s] >= 0:
                seconds += flow[s, t] * year[s, t] * work_s[s]
        at = min(seconds * periods / (YEAR_S * devices), 1.0) * steps
        low = min(int(at), steps - 1)
        found += busy[low] + (busy[low + 1] - busy[low]) * (at - low)
    return found * devices / periods


@njit(**_OPTIONS)
def shift(
    near,
    path_of,
    sites,
    lawful,
    left,
    part,
    flow,
    path,
    year,
    carry,
    options,
    money,
    sink,
    soft,
    costs,
    capital,
    budget,
    able_at_all,
):
    """One sweep of moves: each group's part of a service from one candidate to a better one.

    Args:
        near: (G, C) candidates; a further one, C, is to refuse.
        path_of: (G, C).
        sites: see `site_cost`.
        lawful: (K, S).
        left: (G, S, T) demand that no tower takes.
        part: (G, C + 1, S) of it that each candidate takes; changed in place.
        flow: (K, S, T) at each site; changed in place.
        path: (K, S) farthest bin; changed in place, may be too far after moves away.
        year: (S, T).
        carry: (S,).
        options: see `site_cost`.
        money: see `site_cost`.
        sink: (S,) USD lost by a refused request; infinite where none may be.
        soft: see `site_cost`.
        costs: (K,) of each site; changed in place.
        capital: (K,) USD of each site; changed in place.
        budget: USD for all of them.
        able_at_all: (G, S) whether any candidate can serve it.

    Returns:
        moves made.
    """
    groups, candidates = near.shape
    services, periods = year.shape
    moves = 0
    away, to_path, from_path = np.zeros((services, periods)), path[0].copy(), path[0].copy()
    for g in range(groups):
        for which in range(services + 1):
            for start in range(candidates + 1):
                if start < candidates and near[g, start] < 0:
                    continue
                for size in (1.0, 0.5, 0.2, 0.05):
                    away[:] = 0.0
                    lost, some = 0.0, False
                    for s in range(services):
                        if which != services and which != s:
                            continue
                        if part[g, start, s] <= 0.0 or not able_at_all[g, s]:
                            continue
                        for t in range(periods):
                            away[s, t] = left[g, s, t] * part[g, start, s] * size
                            some = some or away[s, t] > ENOUGH
                            if start == candidates:
                                lost += away[s, t] * year[s, t] * sink[s]
                    if not some:
                        break
                    gain, source, freed = lost, -1, 0.0
                    if start < candidates:
                        source = near[g, start]
                        for s in range(services):
                            gone = flow[source, s].sum() - away[s].sum() <= 1e-9
                            from_path[s] = -1 if gone else path[source, s]
                        rest, o, n = site_cost(
                            source,
                            np.maximum(flow[source] - away, 0.0),
                            from_path,
                            year,
                            carry,
                            sites,
                            options,
                            money,
                            soft,
                        )
                        gain = costs[source] - rest
                        freed = capital[source] - (n * money[o, 2] if o >= 0 else 0.0)
                    best, chosen = 0.0, -1
                    for end in range(candidates + 1):
                        if end == start or (end < candidates and near[g, end] < 0):
                            continue
                        more = 0.0
                        if end == candidates:
                            for s in range(services):
                                for t in range(periods):
                                    if away[s, t] > 0.0:
                                        more += away[s, t] * year[s, t] * sink[s]
                        else:
                            target, able = near[g, end], True
                            for s in range(services):
                                to_path[s] = path[target, s]
                                if away[s].sum() > 0.0:
                                    able = able and lawful[target, s]
                                    to_path[s] = max(to_path[s], path_of[g, end])
                            if not able:
                                continue
                            after, o, n = site_cost(
                                target,
                                flow[target] + away,
                                to_path,
                                year,
                                carry,
                                sites,
                                options,
                                money,
                                soft,
                            )
                            more = after - costs[target]
                            bought = n * money[o, 2] - capital[target] if o >= 0 else 0.0
                            if bought > freed and capital.sum() + bought - freed > budget:
                                continue
                        net = gain - more
                        if net > best + 1e-9 * abs(gain) and net > 1e-6:
                            best, chosen = net, end
                    if chosen < 0:
                        continue
                    moves += 1
                    for s in range(services):
                        if away[s].sum() <= 0.0:
                            continue
                        moved = part[g, start, s] * size
                        part[g, start, s] = 0.0 if size == 1.0 else part[g, start, s] - moved
                        part[g, chosen, s] += moved
                    if source >= 0:
                        flow[source] = np.maximum(flow[source] - away, 0.0)
                        for s in range(services):
                            if flow[source, s].sum() <= 1e-9:
                                path[source, s] = -1
                                flow[source, s] = 0.0
                        costs[source], o, n = site_cost(
                            source,
                            flow[source],
                            path[source],
                            year,
                            carry,
                            sites,
                            options,
                            money,
                            soft,
                        )
                        capital[source] = n * money[o, 2] if o >= 0 else 0.0
                    if chosen < candidates:
                        target = near[g, chosen]
                        flow[target] += away
                        for s in range(services):
                            if away[s].sum() > 0.0:
                                path[target, s] = max(path[target, s], path_of[g, chosen])
                        costs[target], o, n = site_cost(
                            target,
                            flow[target],
                            path[target],
                            year,
                            carry,
                            sites,
                            options,
                            money,
                            soft,
                        )
                        capital[target] = n * money[o, 2] if o >= 0 else 0.0
                    break
    return moves


@njit(**_OPTIONS)
def fill_all(tower, columns, loads, extras, bins, rate, order, own):
    """What towers with a choice serve, into `own` (N, S, T)."""
    spare, customers, kind, group, work_s, keeps, lawful = columns
    levels = len(loads)
    for i in range(len(tower)):
        if tower[i] < 0:
            own[i] = 0.0
            continue
        e, level = tower[i] // levels, tower[i] % levels
        fill(
            spare[i], extras[e], loads[level], keeps[kind[i], level], work_s[kind[i]], lawful[i],
            customers[i], rate, order[group[i]], bins[i, e], own[i],
        )  # fmt: skip


@njit(**_OPTIONS)
def rank(columns, costs, loads, extras, bins, rate, year, order, worth, choice, net):
    """Each tower's best choice at prices, and what it gains a year beyond its own cost.

    Args:
        columns: of the towers.
        costs: first_usd, price_usd, idle_usd, busy_usd of each; and the yearly share of capital.
        loads: planned.
        extras: devices that may be added.
        bins: (N, extras, T) speeds.
        rate: (S, T) of a customer.
        year: (S, T).
        order: (G, S) services, most wanted first.
        worth: (G, S) USD a year for a planned request a second, summed over its periods.
        choice: (N,) to fill.
        net: (N,) to fill; below 0 where a tower is not worth it.
    """
    spare, customers, kind, group, work_s, keeps, lawful = columns
    first, price, idle, busy, capital = costs
    services, periods = rate.shape
    served = np.zeros((services, periods))
    levels = len(loads)
    for i in range(len(customers)):
        choice[i], net[i] = -1, 0.0
        for e in range(len(extras)):
            fixed = (first[i] + extras[e] * price[i]) * capital + extras[e] * idle[i]
            for level in range(levels):
                fill(
                    spare[i], extras[e], loads[level], keeps[kind[i], level], work_s[kind[i]],
                    lawful[i], customers[i], rate, order[group[i]], bins[i, e], served,
                )  # fmt: skip
                gain = -fixed
                for s in range(services):
                    for t in range(periods):
                        if served[s, t] > 0.0:
                            cost = year[s, t] * work_s[kind[i], s] * busy[i]
                            gain += served[s, t] * (worth[group[i], s, t] - cost)
                if gain > net[i]:
                    choice[i], net[i] = e * levels + level, gain
