# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""A minute inside the sites: compute among services, lines, refusals, predicted times."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.models.turns import (
    ALONE,
    FULL,
    FULL_CELLS,
    FULLEST,
    LEAST,
    LOST,
    PREFILL,
    settle,
    turn_of,
)

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0
# Below this load of a full batch nobody finds the line full.
CROWDED = 0.3


@njit(**_OPTIONS)
def _fit(speed, rate, prefill_s, full_s, load):
    """Part of what full batches let through that fits the compute, beside all that is less."""
    less, full = 0.0, 0.0
    for s in range(len(rate)):
        work = rate[s] * (prefill_s[s] + full_s[s])
        if load[s] >= 1.0:
            full += work / load[s]
        else:
            less += work
    return min(1.0, max(speed - less, 0.0) / full)


@njit(**_OPTIONS)
def serve(
    first,
    last,
    share,
    compute,
    type_of,
    table_of,
    line_limit,
    together,
    stays,
    ready,
    arrive,
    line,
    cost,
    busy_table,
    blocked,
    nodes,
    weights,
    running,
    places,
    full_steps,
    over_steps,
    loads,
    speed_bins,
    speed_lookup,
    speed_steps,
    served,
    over,
    point,
    load_seen,
    tokens,
    busy_sum,
    share_sum,
    tokens_sum,
    columns,
):
    """A minute of the sites `first` to `last`.

    Services take turns, and what they do to each other is settled from last minute's batches on
    (`models.turns`). What comes beyond what a full batch makes waits in line, as many as the line
    holds; the rest is refused here.

    Args:
        first: row.
        last: row after the last.
        share: (N,) of compute that AI may use.
        compute: (N,) devices.
        type_of: (N,) rows of the tables below.
        table_of: (N,) table that each site is read in.
        line_limit: (S, T) requests in line, for a group of devices.
        together: devices of a group.
        stays: (S, N) sessions that stay.
        ready: (S, N) float32 part of this minute that the service is loaded; 0: it is not here.
        arrive: (S, N) requests a second.
        line: (S, N) requests in line, changed in place.
        cost: of `Turns`, as the next four.
        busy_table: `busy` of it.
        blocked: of it.
        nodes: of it.
        weights: of it.
        running: (S, N) part of the time that each service decodes, changed in place.
        places: (K, F) of `Responses`.
        full_steps: of it, up to 1.
        over_steps: of it, above.
        loads: L.
        speed_bins: how many.
        speed_lookup: (2, n) speed bin of a speed below `speed_steps[2]`, and of one above.
        speed_steps: steps of a speed of 1 in both, and where they part.
        served: (S, N) requests of this minute, to fill.
        over: (S, N) requests refused here, to fill.
        point: (N,) operating point, to fill.
        load_seen: (N,) work offered, in full batches, over the compute there is; to fill.
        tokens: (S,) of a request.
        busy_sum: (N,) device-minutes busy, added to.
        share_sum: (N,) device-minutes given to AI, added to.
        tokens_sum: (N,) tokens, added to.
        columns: S values, any: a tuple's length is known when this is compiled.

    Returns:
        devices given to AI, those of them that are busy, and that work at full batches would need.
    """
    all_given, all_busy, all_work = 0.0, 0.0, 0.0
    offered, rate, busy, load, slower = np.zeros((5, len(columns)))
    prefill_s, alone_s, full_s = np.zeros((3, len(columns)))
    for row in range(first, last):
        devices = share[row] * compute[row]
        kind = type_of[row]
        share_sum[row] += devices
        all_given += devices
        load_seen[row] = 0.0
        point[row] = 0
        # A large site answers as several groups alike.
        groups = max(compute[row] / together, 1.0) if compute[row] > together else 1.0
        each = 1.0 / MINUTE_S if groups == 1.0 else 1.0 / (MINUTE_S * groups)
        speed = min(devices, share[row] * together)
        wanted = 0.0
        for s in range(len(columns)):
            came = arrive[s, row] * MINUTE_S
            held = line[s, row]
            loaded = ready[s, row] if devices > 0.0 else 0.0
            # Loaded in the middle of the minute: who came before found nobody.
            missed = came * (1.0 - loaded) + (held if loaded <= 0.0 else 0.0)
            offered[s] = came + held - missed
            rate[s] = offered[s] * each
            served[s, row] = 0.0
            over[s, row] = missed
            if held > 0.0:
                line[s, row] = 0.0
            busy[s] = running[s, row]
            prefill_s[s] = cost[kind, s, PREFILL] + (1.0 - stays[s, row]) * cost[kind, s, LOST]
            alone_s[s], full_s[s] = cost[kind, s, ALONE], cost[kind, s, FULL]
            wanted += rate[s] * (prefill_s[s] + full_s[s])
        if wanted <= 0.0:
            continue
        load_seen[row] = wanted / speed
        idle = settle(
            speed,
            rate,
            prefill_s,
            alone_s,
            full_s,
            kind,
            busy_table,
            nodes,
            weights,
            busy,
            load,
            slower,
            columns,
        )
        fullest = 0.0
        for s in range(len(columns)):
            running[s, row] = busy[s]
            idle *= 1.0 - busy[s]
            fullest = max(fullest, load[s])
        made, done = 0.0, wanted
        if fullest <= CROWDED:
            for s in range(len(columns)):
                served[s, row] = offered[s]
                made += offered[s] * tokens[s]
        else:
            done = 0.0
            fit = _fit(speed, rate, prefill_s, full_s, load) if fullest >= 1.0 else 1.0
            for s in range(len(columns)):
                out, kept = offered[s], 0.0
                if load[s] >= 1.0:
                    out *= fit / load[s]
                    kept = min(offered[s] - out, line_limit[s, kind] * groups)
                elif load[s] > CROWDED:
                    at = int(load[s] * (FULL_CELLS / FULLEST))
                    out -= min(arrive[s, row] * MINUTE_S * blocked[kind, s, at], out)
                served[s, row] = out
                line[s, row] = kept
                over[s, row] += offered[s] - out - kept
                made += out * tokens[s]
                done += out * each * (prefill_s[s] + full_s[s])
        if fullest >= 1.0:
            at = full_steps + int((wanted / done - 1.0) * over_steps)
        else:
            at = int(0.5 * (1.0 - idle + fullest) * full_steps)
        fine = 0 if speed < speed_steps[2] else 1
        pace = speed_lookup[fine, min(int(speed * speed_steps[fine]), speed_lookup.shape[1] - 1)]
        table = table_of[row]
        at = places[table, min(at, places.shape[1] - 1)]
        point[row] = (table * speed_bins + pace) * loads + at
        worked = done * groups
        runs = max((1.0 - idle) * devices, worked)
        busy_sum[row] += runs
        tokens_sum[row] += made
        all_busy += runs
        all_work += worked
    return all_given, all_busy, all_work


@njit(**_OPTIONS)
def hold(
    first,
    last,
    share,
    compute,
    type_of,
    together,
    arrive,
    cost,
    stay,
    running,
    ready,
    found,
):
    """How long requests are open at each site, about: in line, in prefill (shared), in decode.

    Args:
        first: row.
        last: row after the last.
        share: (N,) of compute that AI has.
        compute: (N,) devices.
        type_of: (N,) rows of the tables.
        together: devices of a group.
        arrive: (S, N) requests a second, as seen last.
        cost: of `Turns`.
        stay: of it.
        running: (S, N) part of the time that each service decodes.
        ready: (S, N) above 0 where a service is loaded.
        found: (S, N) seconds, to fill; 0 where it cannot run.
    """
    services, cells = len(arrive), stay.shape[2] - 1
    for row in range(first, last):
        devices, kind = share[row] * compute[row], type_of[row]
        wanted, decoding = 0.0, 0.0
        for s in range(services):
            found[s, row] = 0.0
            decoding += running[s, row]
            if ready[s, row] > 0.0:
                wanted += arrive[s, row] * cost[kind, s, PREFILL]
        if devices <= 0.0:
            continue
        # All that a group of the site does takes this much longer than on one device.
        groups = max(compute[row] / together, 1.0)
        stretch = groups / max(devices - wanted, LEAST * devices)
        for s in range(services):
            if ready[s, row] > 0.0:
                alone = cost[kind, s, ALONE] * stretch * turn_of(decoding - running[s, row])
                at = arrive[s, row] / groups * alone
                at = stay[kind, s, int(at / (1.0 + at) * cells)]
                found[s, row] = cost[kind, s, PREFILL] * stretch + alone * at


@njit(**_OPTIONS)
def site_times(
    share,
    compute,
    type_of,
    together,
    load,
    needed,
    ttft_slo_ms,
    fill,
    loads,
    load_lookup,
    load_steps,
    ready,
    spare,
    found,
):
    """How late each site is predicted to be, and what it can take before it breaks a promise.

    A site that has 1/r of the speed that both promises need at its load counts as one that needs r
    times the promised time to first token. Infinite where it is shut. Where promises are kept up to
    a lower load only than `fill`, there is less to spare, in proportion.

    Args:
        share: (N,) of compute that AI can count on.
        compute: (N,) devices.
        type_of: (N,) rows of the tables.
        together: devices of a group.
        load: (N,) offered over possible.
        needed: (T, L) devices that keep both promises.
        ttft_slo_ms: promised, without the path.
        fill: load that `spare` reckons with.
        loads: (L,) of the tables.
        load_lookup: load bin of a load.
        load_steps: of that lookup, for a load of 1.
        ready: (N,) above 0 where the service is loaded.
        spare: (N,) requests a second, to shrink.
        found: (N,) to fill, ms.
    """
    full = load_lookup[min(int(fill * load_steps), len(load_lookup) - 1)]
    for row in range(len(share)):
        speed = min(share[row] * compute[row], share[row] * together)
        if speed <= 0.0 or ready[row] <= 0.0:
            found[row] = np.inf
            continue
        kind = type_of[row]
        at = load_lookup[min(int(load[row] * load_steps), len(load_lookup) - 1)]
        found[row] = needed[kind, at] / speed * ttft_slo_ms
        if needed[kind, full] > speed:
            most = 0
            while most < full and needed[kind, most + 1] <= speed:
                most += 1
            spare[row] *= loads[most] / fill
