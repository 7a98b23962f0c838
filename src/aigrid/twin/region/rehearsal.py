"""Rehearse a region request by request: under each policy, with the same requests for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from aigrid.control.policy import Policy
from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import books, radio
from aigrid.twin.fluid.experience import known_of
from aigrid.twin.fluid.ground import ground_of
from aigrid.twin.fluid.rehearsal import GUARD_S, Tabulated, _middles, peak_rss_mb, policy_of
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.fluid.trace import Trace
from aigrid.twin.outcome import PolicyOutcome
from aigrid.twin.policies import Plan, plan_of
from aigrid.twin.region.arrivals import Played
from aigrid.twin.region.city import City
from aigrid.twin.region.columns import EVENTS
from aigrid.twin.region.tails import EventsRehearsal, Tails, outcome_with

Progress = Callable[[str, int], None]
SYNTHETIC = "synthetic"
# A region, not a country: what is simulated request by request must fit in memory and patience.
SITES_LIMIT = 20_000


def rehearse(
    country: Country,
    policies: Sequence[str],
    seed: int,
    on_progress: Progress | None = None,
    played: Played | None = None,
    requests_from: str = SYNTHETIC,
) -> EventsRehearsal:
    """Rehearse a region under each policy.

    Args:
        country: to rehearse.
        policies: names, see `policies.PLANS`.
        seed: of chance; all policies meet the same radio load and requests.
        on_progress: hears a policy and how many of its minutes are done.
        played: requests of a trace; None draws all from the scenario's demand.
        requests_from: what to call where requests came from.

    Raises:
        ConfigurationError: an unknown policy or dial, or a country that is too large.
        RuleBrokenError: a rule was broken.
    """
    if len(country.network) > SITES_LIMIT:
        raise ConfigurationError(
            f"{country.name} has {len(country.network):,} sites: too many request by request",
            next_step=f"rehearse it as flows, or a region of at most {SITES_LIMIT:,} sites",
        )
    began = time.perf_counter()
    plans = [plan_of(name) for name in policies]
    dials = policy_of(country)
    trace = Trace(f"events {country.name} {seed} {len(country.network)} {country.minutes}")
    if played is not None:
        trace.add(played.came_s, played.origin, played.prompt, played.generated, played.blocks)
    runs: dict[str, City] = {}
    outcomes: dict[str, PolicyOutcome] = {}
    tabulated: Tabulated = {}
    for plan in plans:
        city, outcome = run_policy(
            country, plan, dials, seed, trace, tabulated, played, on_progress
        )
        runs[plan.name], outcomes[plan.name] = city, outcome
    latitude, longitude = _middles(country)
    events = sum(int(city.world.counts[EVENTS]) for city in runs.values())
    seconds = sum(city.seconds for city in runs.values())
    return EventsRehearsal(
        scenario=country.name,
        seed=seed,
        sites=len(country.network),
        customers=float(country.network.customers.sum()),
        minutes=country.minutes,
        wall_s=time.perf_counter() - began,
        peak_rss_mb=peak_rss_mb(),
        trace_sha256=trace.hexdigest(),
        region_names=country.network.regions,
        region_latitude_deg=latitude,
        region_longitude_deg=longitude,
        policies=outcomes,
        requests_from=requests_from,
        events=events,
        events_per_s=events / max(seconds, 1e-9),
        tails={
            name: Tails(city.ledger.whole(), city.ledger.by_service())
            for name, city in runs.items()
        },
        country=country,
    )


def run_policy(
    country: Country,
    plan: Plan,
    dials: Policy,
    seed: int,
    trace: Trace,
    tabulated: Tabulated,
    played: Played | None = None,
    on_progress: Progress | None = None,
) -> tuple[City, PolicyOutcome]:
    """One policy's run, with the city behind its figures; arguments as of `rehearse`."""
    ground = ground_of(country, plan, dials)
    tables = radio.tables_of(country, max(round(GUARD_S * 1e3 / country.radio.slot_ms), 1))
    if ground.types not in tabulated:
        tabulated[ground.types] = responses_of(ground)
    responses = tabulated[ground.types]
    known = known_of(ground, tables, seed)
    with Threads(1) as threads:
        city = City(ground, plan, dials, tables, responses, known, seed, threads, trace, played)
        sums = city.run(lambda done: on_progress(plan.name, done) if on_progress else None)
    flows = books.outcome_of(plan, ground, responses, sums, known.radio)
    ledger = city.ledger
    notes = () if played is None else (played.note(country),)
    outcome = outcome_with(flows, ledger.latencies(), ledger.histograms(), notes)
    trace.add(np.array(list(outcome.figures().values())))
    return city, outcome
