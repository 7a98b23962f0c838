"""A trace made into requests of a region: when they come, from where, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import Country
from aigrid.twin.country.traces import Trace
from aigrid.twin.country.usage import lengths_of, shared_tokens
from aigrid.twin.fluid import demand
from aigrid.twin.models.shapes import MINUTES
from aigrid.twin.region.arrivals import MINUTE_S, ORIGINS, Played

Floats = NDArray[np.float64]
DAY_S = 86_400.0
# A block that more prompts have is what everybody's begins with; turns of a conversation are fewer.
SESSION_LIMIT = 100


def service_row(country: Country, name: str | None) -> int:
    """Row of the service that a trace's requests ask for: the first where none is named.

    Raises:
        ConfigurationError: no such service.
    """
    names = [service.name for service in country.services]
    if name is None:
        return 0
    if name not in names:
        raise ConfigurationError(
            f"--service {name!r} is not in {country.name}",
            next_step=f"use one of {', '.join(names)}",
        )
    return names.index(name)


def adapted(country: Country, trace: Trace, service: int, rate: float | None) -> Country:
    """The country with what its operator would know of a service from a past like the trace.

    Its lengths and shared prefix are those of the trace; with `rate`, requests a second over the
    day, so is its demand.
    """
    one = country.services[service]
    shared = shared_tokens(trace)
    customers = max(float(country.network.customers.sum()), 1e-9)
    changes: dict[str, object] = {
        "prompt_tokens": lengths_of(trace.prompt_tokens),
        "generated_tokens": lengths_of(trace.output_tokens),
    }
    if len(trace.block_id):
        with_prefix = shared > 0.0
        changes["residency"] = float(with_prefix.mean())
        changes["shared_prefix_tokens"] = (
            float(shared[with_prefix].mean()) if with_prefix.any() else 0.0
        )
    if rate is not None:
        changes["requests_per_customer_day"] = rate * DAY_S / customers
    services = list(country.services)
    services[service] = replace(one, **changes)  # type: ignore[arg-type]
    return replace(country, services=tuple(services))


def played(country: Country, trace: Trace, service: int, seed: int) -> Played:
    """Every request of the trace once, in its order, at the pace of the scenario's demand.

    The trace's own clock is run faster and slower so that as many come as the service is asked for
    at that time of day: request i of R comes when the demand since the start adds up to R times its
    place in the trace's time (a change of time; Daley and Vere-Jones, "An Introduction to the
    Theory of Point Processes" I, 2003, 7.4). Bursts stay bursts. Origins are drawn by customers; a
    request that continues an earlier one comes from the same origin.
    """
    total = len(trace.at_s)
    length_s = max(float(trace.at_s[-1]), 1e-9) * total / max(total - 1, 1)
    wanted = trace.at_s / length_s * total
    came_s = _when(country, service, wanted)
    chance = np.random.default_rng(np.random.SeedSequence((seed, ORIGINS)))
    ends = np.cumsum(country.network.customers)
    drawn = np.searchsorted(ends, chance.random(total) * ends[-1], side="right")
    origin = np.minimum(drawn, len(ends) - 1).astype(np.int32)
    return Played(
        service,
        came_s,
        origin[sessions(trace)],
        trace.prompt_tokens.astype(np.float64),
        trace.output_tokens.astype(np.float64),
        trace.block_start,
        trace.block_id,
        float(trace.block_tokens),
    )


def _when(country: Country, service: int, wanted: Floats) -> Floats:
    """When the expected demand of a service has added up to `wanted` requests."""
    per_min = demand.by_customer(country)[service] * country.network.customers.sum() * MINUTE_S
    a_day = float(per_min.sum())
    if a_day <= 0.0:
        raise ConfigurationError(
            f"nobody in {country.name} asks for {country.services[service].name}",
            next_step="give --rate, or requests_per_customer_day",
        )
    edges = np.concatenate(([0.0], np.cumsum(per_min)))
    days, rest = np.divmod(wanted, a_day)
    return np.asarray(
        days * DAY_S + np.interp(rest, edges, np.arange(MINUTES + 1.0) * MINUTE_S), np.float64
    )


def sessions(trace: Trace) -> NDArray[np.int64]:
    """(R,) the first request of each one's session; itself where it shares nothing.

    Hashes stand for all before them. What many prompts begin with is nobody's session (a system
    prompt); behind it, the first block that few prompts have names the conversation.
    """
    first = np.arange(len(trace.at_s))
    if not len(trace.block_id):
        return first
    row = np.repeat(first, np.diff(trace.block_start))
    _, which, counts = np.unique(trace.block_id, return_inverse=True, return_counts=True)
    mine = np.flatnonzero(counts[which] <= SESSION_LIMIT)
    rows, at = np.unique(row[mine], return_index=True)
    _, earliest, same = np.unique(which[mine[at]], return_index=True, return_inverse=True)
    first[rows] = rows[earliest[same]]
    return first
