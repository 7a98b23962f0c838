# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Flows of one minute: down the weights, through the sites, up where they are refused.

All walk rows in order and write to rows of their own or of their service, so that results do not
depend on how many threads share the work.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0


@njit(**_OPTIONS)
def push(reach, weight, rate, arrive):
    """Send each origin's requests down its weights.

    Args:
        reach: (N, K) candidates.
        weight: (N, K) of one service; a row sums to 1 or 0.
        rate: (N,) requests a second.
        arrive: (N,) to fill, requests a second.

    Returns:
        requests a second that have nowhere to go.
    """
    arrive[:] = 0.0
    lost = 0.0
    for row in range(len(rate)):
        asked = rate[row]
        if asked <= 0.0:
            continue
        total = 0.0
        for at in range(reach.shape[1]):
            total += weight[row, at]
        if total <= 0.0:
            lost += asked
            continue
        # Weights are rounded to float32: without this a few requests would come from nowhere.
        each = asked / total
        for at in range(reach.shape[1]):
            part = weight[row, at]
            if part > 0.0:
                arrive[reach[row, at]] += each * part
    return lost


@njit(**_OPTIONS)
def mix(reach, weight, rate, hop_ms, extra_ms, hub, lookup, steps, paths, stays, crossing):
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
        total = 0.0
        for bin_ in range(paths.shape[1]):
            total += paths[site, bin_]
        if total > 0.0:
            stays[site] = min(stays[site] / total, 1.0)
            for bin_ in range(paths.shape[1]):
                paths[site, bin_] /= total
        else:
            paths[site, 0] = 1.0
            stays[site] = 1.0


@njit(**_OPTIONS)
def _fair(offered, work, capacity, given):
    """Divide seconds of work among services in equal parts; who needs less leaves the rest."""
    services = len(offered)
    left, open_ = capacity, 0
    for s in range(services):
        given[s] = 0.0
        if offered[s] > 0.0:
            open_ += 1
    for _ in range(services):
        if open_ == 0 or left <= 0.0:
            break
        part = left / open_
        done = 0
        for s in range(services):
            need = offered[s] * work[s] - given[s]
            if need > 0.0 and need <= part:
                given[s] += need
                left -= need
                done += 1
        if done == 0:
            for s in range(services):
                if offered[s] * work[s] - given[s] > 0.0:
                    given[s] += part
            break
        open_ -= done


@njit(**_OPTIONS)
def serve(
    first,
    last,
    share,
    compute,
    type_of,
    work_s,
    lost_s,
    line_limit,
    together,
    stays,
    ready,
    arrive,
    line,
    blocked,
    busy_table,
    load_lookup,
    load_steps,
    speed_bins,
    speed_parts,
    slowest,
    served,
    over,
    point,
    busy,
    work_done,
    load_seen,
):
    """A minute of the sites `first` to `last`.

    What comes and does not fit the compute waits in line, as many as the line holds; the rest is
    refused here. Where all want more than there is, services get equal time.

    Args:
        first: row.
        last: row after the last.
        share: (N,) of compute that AI may use.
        compute: (N,) devices.
        type_of: (N,) rows of the tables below.
        work_s: (S, T) device seconds of a request whose session stayed.
        lost_s: (S, T) further, where its prefix is lost.
        line_limit: (S, T) requests in line, for a group of devices.
        together: devices of a group.
        stays: (S, N) sessions that stay.
        ready: (S, N) float32 part of this minute that the service is loaded; 0: it is not here.
        arrive: (S, N) requests a second.
        line: (S, N) requests in line, changed in place.
        blocked: (S, T, L) part of arrivals that chance finds a full line for.
        busy_table: (T, L).
        load_lookup: load bin of a load.
        load_steps: of that lookup, for a load of 1.
        speed_bins: how many.
        speed_parts: of an octave.
        slowest: octave.
        served: (S, N) requests of this minute, to fill.
        over: (S, N) requests refused here, to fill.
        point: (N,) operating point, to fill.
        busy: (N,) devices busy, to fill.
        work_done: (N,) devices' worth of work at full batches, to fill.
        load_seen: (N,) offered over possible, to fill.
    """
    services = len(work_s)
    loads = busy_table.shape[1]
    offered, work, given = np.zeros(services), np.zeros(services), np.zeros(services)
    for row in range(first, last):
        devices = share[row] * compute[row]
        kind = type_of[row]
        capacity = devices * MINUTE_S
        wanted = 0.0
        for s in range(services):
            came = arrive[s, row] * MINUTE_S
            over[s, row] = 0.0
            served[s, row] = 0.0
            offered[s] = 0.0
            if ready[s, row] <= 0.0 or capacity <= 0.0:
                over[s, row] = came + line[s, row]
                line[s, row] = 0.0
                continue
            work[s] = work_s[s, kind] + (1.0 - stays[s, row]) * lost_s[s, kind]
            offered[s] = came + line[s, row]
            if ready[s, row] < 1.0:
                # Loaded in the middle of the minute: who came before found nobody.
                over[s, row] = came * (1.0 - ready[s, row])
                offered[s] -= over[s, row]
            wanted += offered[s] * work[s]
        busy[row] = 0.0
        work_done[row] = 0.0
        load_seen[row] = 0.0
        point[row] = 0
        if wanted <= 0.0:
            continue
        load = wanted / capacity
        load_seen[row] = load
        at = load_lookup[min(int(load * load_steps), len(load_lookup) - 1)]
        speed = min(devices, share[row] * together)
        octave = int((np.log2(speed) - slowest) * speed_parts)
        octave = min(max(octave, 0), speed_bins - 1)
        point[row] = (kind * speed_bins + octave) * loads + at
        total = 0.0
        for s in range(services):
            if offered[s] > 0.0:
                turned = min(arrive[s, row] * MINUTE_S * blocked[s, kind, at], offered[s])
                if load < 1.0:
                    offered[s] -= turned
                    over[s, row] += turned
                total += offered[s] * work[s]
        if total <= capacity:
            for s in range(services):
                given[s] = offered[s] * work[s]
        else:
            _fair(offered, work, capacity, given)
        groups = max(compute[row] / together, 1.0)
        used = 0.0
        for s in range(services):
            if offered[s] <= 0.0:
                line[s, row] = 0.0 if ready[s, row] > 0.0 else line[s, row]
                continue
            out = min(given[s] / work[s], offered[s])
            served[s, row] = out
            used += given[s]
            rest = offered[s] - out
            kept = min(rest, line_limit[s, kind] * groups)
            line[s, row] = kept
            over[s, row] += rest - kept
        work_done[row] = used / MINUTE_S
        busy[row] = max(busy_table[kind, at] * devices, work_done[row])


@njit(**_OPTIONS)
def go_up(first, last, over, above, way_bin, arrive, up_paths):
    """Hand what `first` to `last` refused to the site above each; without one it is refused.

    Args:
        first: row.
        last: row after the last.
        over: (N,) requests of one service.
        above: (N,) row, -1 for none.
        way_bin: (N,) path bin of the way up.
        arrive: (N,) requests a second, added to.
        up_paths: (U, P) requests a second that come up by path, added to.

    Returns:
        requests that nobody took.
    """
    refused = 0.0
    for row in range(first, last):
        if over[row] <= 0.0:
            continue
        site = above[row]
        if site < 0:
            refused += over[row]
        else:
            arrive[site] += over[row] / MINUTE_S
            up_paths[site, way_bin[row]] += over[row] / MINUTE_S
    return refused


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
def account(served, point, paths, joined, stays, warm, kept, mass, good):
    """Add a minute's requests of one service to its operating points.

    Args:
        served: (N,) requests.
        point: (N,) operating points.
        paths: (N, P).
        joined: (U, P) instead of it for the first U rows.
        stays: (N,) sessions that stay.
        warm: probability that a prefix is found where the session stayed.
        kept: (O, 2, P) probability that what was promised is kept.
        mass: (O, 2, P) requests, added to.
        good: (N,) part of the requests that keeps what was promised, to fill.

    Returns:
        requests that keep what was promised.
    """
    total = 0.0
    upper = len(joined)
    for row in range(len(served)):
        if served[row] <= 0.0:
            good[row] = 0.0
            continue
        here = point[row]
        hit = stays[row] * warm
        found = 0.0
        for bin_ in range(paths.shape[1]):
            part = joined[row, bin_] if row < upper else paths[row, bin_]
            if part > 0.0:
                flow = served[row] * part
                mass[here, 0, bin_] += flow * hit
                mass[here, 1, bin_] += flow * (1.0 - hit)
                chance = hit * kept[here, 0, bin_] + (1.0 - hit) * kept[here, 1, bin_]
                found += part * chance
        good[row] = found
        total += found * served[row]
    return total


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


@njit(**_OPTIONS)
def below(above, own, total):
    """Requests expected at or below each site: (N, S) sums over what hangs under it."""
    total[:] = own
    for row in range(len(above) - 1, -1, -1):
        if above[row] >= 0:
            for s in range(own.shape[1]):
                total[above[row], s] += total[row, s]


@njit(**_OPTIONS)
def site_times(
    share, compute, type_of, together, load, mean_s, load_lookup, load_steps, ready, found
):
    """Predicted ms to first token from each site's door: (N,) of one service; infinite if shut."""
    for row in range(len(share)):
        speed = min(share[row] * compute[row], share[row] * together)
        if speed <= 0.0 or ready[row] <= 0.0:
            found[row] = np.inf
        else:
            at = load_lookup[min(int(load[row] * load_steps), len(load_lookup) - 1)]
            found[row] = mean_s[type_of[row], at] / speed * 1e3
