# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""What is predicted of sites: how long requests are open there, and who keeps promises."""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.twin.models.turns import ALONE, LEAST, PREFILL, turn_of

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


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
    for row in range(len(share)):
        speed, kind = share[row] * min(compute[row], together), type_of[row]
        at = load_lookup[int(min(load[row] * load_steps, len(load_lookup) - 1))]
        late_ms = needed[kind, at] / speed * ttft_slo_ms
        is_open = (speed > 0.0) & (ready[row] > 0.0)
        found[row] = late_ms if is_open else np.inf
        if is_open & (needed[kind, full] > speed):
            most = 0
            while most < full and needed[kind, most + 1] <= speed:
                most += 1
            spare[row] *= loads[most] / fill
