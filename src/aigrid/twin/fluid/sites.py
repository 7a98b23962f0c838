# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""What is predicted of sites: how long requests are open there, and who keeps promises."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.models.turns import ALONE, LEAST, PREFILL, turn_of

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Rows that are worked on at once, within the reach of a processor's cache.
BLOCK = 1024
# Cells of a speed of one device.
CELLS = 512


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
    columns,
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
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    cells = stay.shape[2] - 1
    for row in range(first, last):
        devices, kind = share[row] * compute[row], type_of[row]
        if devices <= 0.0:
            for s in range(len(columns)):
                found[s, row] = 0.0
            continue
        wanted, decoding = 0.0, 0.0
        for s in range(len(columns)):
            decoding += running[s, row]
            wanted += arrive[s, row] * cost[kind, s, PREFILL] if ready[s, row] > 0.0 else 0.0
        # All that a group of the site does takes this much longer than on one device.
        groups = max(compute[row] / together, 1.0)
        stretch = groups / max(devices - wanted, LEAST * devices)
        for s in range(len(columns)):
            found[s, row] = 0.0
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
    # Each by itself: of parts of one array a compiler does not know that they are apart.
    speeds, needs, fulls = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    least = _loads_kept(needed, full, together)
    for first in range(0, len(share), BLOCK):
        last = min(first + BLOCK, len(share))
        here, cells = slice(first, last), slice(0, last - first)
        speed, need, at_full = speeds[cells], needs[cells], fulls[cells]
        _needs(load[here], type_of[here], needed, full, load_lookup, load_steps, need, at_full)
        short = _late(
            share[here],
            compute[here],
            together,
            ready[here],
            need,
            at_full,
            ttft_slo_ms,
            speed,
            found[here],
        )
        if short > 0:
            _shrink(
                speed,
                type_of[here],
                needed,
                full,
                least,
                fill,
                loads,
                ready[here],
                spare[here],
            )


@njit(**_OPTIONS)
def _loads_kept(needed, full, together):
    """(T, cells) the load up to which speeds of each cell keep both promises, at the least."""
    found = np.zeros((len(needed), together * CELLS + 1), np.int64)
    for kind in range(len(needed)):
        most = 0
        for cell in range(found.shape[1]):
            while most < full and needed[kind, most + 1] <= cell / CELLS:
                most += 1
            found[kind, cell] = most
    return found


@njit(**_OPTIONS)
def _needs(load, type_of, needed, full, lookup, steps, need, at_full):
    """Devices that keep both promises at each site's load, and at the load `full`."""
    for row in range(len(load)):
        kind = type_of[row]
        need[row] = needed[kind, lookup[int(min(load[row] * steps, len(lookup) - 1))]]
        at_full[row] = needed[kind, full]


@njit(**_OPTIONS)
def _late(share, compute, together, ready, need, at_full, ttft_slo_ms, speed, found):
    """How late each is; at how many there is less to spare."""
    short = 0
    for row in range(len(share)):
        speed[row] = share[row] * min(compute[row], together * 1.0)
        late_ms = need[row] / speed[row] * ttft_slo_ms
        is_open = (speed[row] > 0.0) & (ready[row] > 0.0)
        found[row] = late_ms if is_open else np.inf
        short += int(is_open & (at_full[row] > speed[row]))
    return short


@njit(**_OPTIONS)
def _shrink(speed, type_of, needed, full, least, fill, loads, ready, spare):
    """What open sites can take where promises are kept up to a lower load only."""
    for row in range(len(speed)):
        kind = type_of[row]
        is_open = (speed[row] > 0.0) & (ready[row] > 0.0)
        if is_open & (needed[kind, full] > speed[row]):
            most = least[kind, int(speed[row] * CELLS)]
            while most < full and needed[kind, most + 1] <= speed[row]:
                most += 1
            spare[row] *= loads[most] / fill
