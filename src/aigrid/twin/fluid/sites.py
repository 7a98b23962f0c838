# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""A minute inside the sites: compute among services, lines, refusals, predicted times."""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
MINUTE_S = 60.0


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
        speed_lookup: (2, n) speed bin of a speed below `speed_steps[2]`, and of one above.
        speed_steps: steps of a speed of 1 in both, and where they part.
        served: (S, N) requests of this minute, to fill.
        over: (S, N) requests refused here, to fill.
        point: (N,) operating point, to fill.
        load_seen: (N,) offered over possible, to fill.
        tokens: (S,) of a request.
        busy_sum: (N,) device-minutes busy, added to.
        share_sum: (N,) device-minutes given to AI, added to.
        tokens_sum: (N,) tokens, added to.

    Returns:
        devices given to AI, those of them that are busy, and that work at full batches would need.
    """
    all_given, all_busy, all_work = 0.0, 0.0, 0.0
    services = len(work_s)
    loads = busy_table.shape[1]
    offered, work, given = np.zeros(services), np.zeros(services), np.zeros(services)
    for row in range(first, last):
        devices = share[row] * compute[row]
        kind = type_of[row]
        capacity = devices * MINUTE_S
        share_sum[row] += devices
        all_given += devices
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
        load_seen[row] = 0.0
        point[row] = 0
        if wanted <= 0.0:
            continue
        load = wanted / capacity
        load_seen[row] = load
        at = load_lookup[min(int(load * load_steps), len(load_lookup) - 1)]
        speed = min(devices, share[row] * together)
        fine = 0 if speed < speed_steps[2] else 1
        place = min(int(speed * speed_steps[fine]), speed_lookup.shape[1] - 1)
        point[row] = (kind * speed_bins + speed_lookup[fine, place]) * loads + at
        total = 0.0
        for s in range(services):
            if offered[s] > 0.0:
                turned = min(arrive[s, row] * MINUTE_S * blocked[s, kind, at], offered[s])
                if load < 1.0:
                    offered[s] -= turned
                    over[s, row] += turned
                total += offered[s] * work[s]
        used, made = total, 0.0
        if total <= capacity:
            for s in range(services):
                served[s, row] = offered[s]
                line[s, row] = 0.0
                made += offered[s] * tokens[s]
        else:
            used = capacity
            _fair(offered, work, capacity, given)
            groups = max(compute[row] / together, 1.0)
            for s in range(services):
                if offered[s] > 0.0:
                    out = min(given[s] / work[s], offered[s])
                    served[s, row] = out
                    made += out * tokens[s]
                    rest = offered[s] - out
                    kept = min(rest, line_limit[s, kind] * groups)
                    line[s, row] = kept
                    over[s, row] += rest - kept
        worked = used / MINUTE_S
        running = max(busy_table[kind, at] * devices, worked)
        busy_sum[row] += running
        tokens_sum[row] += made
        all_busy += running
        all_work += worked
    return all_given, all_busy, all_work


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
