# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""By which paths requests come to sites, and how they fare: latencies as operating points."""

from __future__ import annotations

from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def mix(reach, weight, rate, hop_ms, extra_ms, hub, lookup, steps, paths, spans, stays, crossing):
    """By which paths requests come to each site, and how many sessions stay there.

    Two requests of a session go to the same candidate with its weight, if the gateway draws for
    each anew.

    Args:
        reach: (N, K).
        weight: (N, K).
        rate: (N,) requests a second expected.
        hop_ms: (N, K) one way.
        extra_ms: (N,) one way, wait for the uplink of each hub.
        hub: (N,) row of the hub whose uplink takes an origin out of its hub; -1 for none.
        lookup: path bin of a round trip.
        steps: of the lookup, a ms.
        paths: (N, P) to fill; rows sum to 1.
        spans: (N, 2) to fill, the first path bin used and the one after the last.
        stays: (N,) to fill, 0 to 1.
        crossing: (N,) to fill, requests a second over each hub's uplink.
    """
    paths[:] = 0.0
    stays[:] = 0.0
    crossing[:] = 0.0
    for row in range(len(rate)):
        if rate[row] <= 0.0:
            continue
        for at in range(reach.shape[1]):
            part = weight[row, at]
            if part > 0.0:
                way = hop_ms[row, at]
                site = reach[row, at]
                flow = rate[row] * part
                if hub[row] >= 0 and hub[site] != hub[row]:
                    way += extra_ms[hub[row]]
                    crossing[hub[row]] += flow
                paths[site, lookup[min(int(2.0 * way * steps), len(lookup) - 1)]] += flow
                stays[site] += flow * part
    for site in range(len(rate)):
        total, first, last = 0.0, paths.shape[1], 0
        for bin_ in range(paths.shape[1]):
            if paths[site, bin_] > 0.0:
                total += paths[site, bin_]
                first, last = min(first, bin_), bin_ + 1
        if total > 0.0:
            stays[site] = min(stays[site] / total, 1.0)
            for bin_ in range(first, last):
                paths[site, bin_] /= total
        else:
            first, last = 0, 1
            paths[site, 0] = 1.0
            stays[site] = 1.0
        spans[site, 0], spans[site, 1] = first, last


@njit(**_OPTIONS)
def join_paths(first, last, came, up_paths, paths, joined):
    """Paths of upper sites with what came up: `came` by weights, as `paths` says, and the rest."""
    for row in range(first, last):
        total = came[row]
        for bin_ in range(paths.shape[1]):
            total += up_paths[row, bin_]
        for bin_ in range(paths.shape[1]):
            if total > 0.0:
                flow = came[row] * paths[row, bin_] + up_paths[row, bin_]
                joined[row, bin_] = flow / total
            else:
                joined[row, bin_] = paths[row, bin_]


@njit(**_OPTIONS)
def account(served, line, point, paths, joined, spans, stays, warm, kept, mass, good):
    """Add a minute's requests of one service to its operating points.

    Args:
        served: (N,) requests.
        line: (N,) requests in line.
        point: (N,) operating points.
        paths: (N, P).
        joined: (U, P) instead of it for the first U rows.
        spans: (N, 2) path bins in use, but for the first U rows.
        stays: (N,) sessions that stay.
        warm: probability that a prefix is found where the session stayed.
        kept: (O, 2, P) probability that what was promised is kept.
        mass: (O, 2, P) requests, added to.
        good: (N,) part of the requests that keeps what was promised, to fill.

    Returns:
        requests that keep what was promised, those served, and those in line.
    """
    total, all_served, all_in_line = 0.0, 0.0, 0.0
    upper = len(joined)
    for row in range(len(served)):
        all_in_line += line[row]
        if served[row] <= 0.0:
            good[row] = 0.0
            continue
        here, hit = point[row], stays[row] * warm
        warmed, cold, found = served[row] * hit, served[row] * (1.0 - hit), 0.0
        first, last = spans[row, 0], spans[row, 1]
        if row < upper:
            first, last = 0, paths.shape[1]
        for bin_ in range(first, last):
            part = joined[row, bin_] if row < upper else paths[row, bin_]
            mass[here, 0, bin_] += warmed * part
            mass[here, 1, bin_] += cold * part
            chance = hit * kept[here, 0, bin_] + (1.0 - hit) * kept[here, 1, bin_]
            found += part * chance
        good[row] = found
        total += found * served[row]
        all_served += served[row]
    return total, all_served, all_in_line


@njit(**_OPTIONS)
def origins(reach, weight, rate, taken, kept, asked, answered, promised):
    """How each origin's requests of one service fare, added to its sums.

    Args:
        reach: (N, K).
        weight: (N, K).
        rate: (N,) requests a second.
        taken: (N,) part of what comes to a site that is answered, there or above.
        kept: (N,) part of what comes to a site that is answered as promised, there or above.
        asked: (N,) added to.
        answered: (N,) added to.
        promised: (N,) added to.
    """
    for row in range(len(rate)):
        if rate[row] <= 0.0:
            continue
        asked[row] += rate[row]
        for at in range(reach.shape[1]):
            part = weight[row, at]
            if part > 0.0:
                answered[row] += rate[row] * part * taken[reach[row, at]]
                promised[row] += rate[row] * part * kept[reach[row, at]]
