"""Rehearse a country: its day under each policy, with the same chance for all."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence

import numpy as np

from aigrid.control.policy import Policy
from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import books, radio
from aigrid.twin.fluid.day import Day
from aigrid.twin.fluid.experience import Known, known_of
from aigrid.twin.fluid.ground import SiteType, ground_of
from aigrid.twin.fluid.responses import Responses
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.fluid.tally import Minute, Tally
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.fluid.trace import Trace
from aigrid.twin.outcome import PolicyOutcome, Rehearsal, Series
from aigrid.twin.policies import Plan, plan_of

# A share is held for a second at least: the guard's look at a site's counters.
GUARD_S = 1.0
Progress = Callable[[str, int], None]
Watch = Callable[[int, Minute], None]
Tabulated = dict[tuple[SiteType, ...], Responses]


def rehearse(
    country: Country,
    policies: Sequence[str],
    seed: int,
    on_progress: Progress | None = None,
    workers: int = 1,
) -> Rehearsal:
    """Rehearse the day of a country under each policy.

    Args:
        country: to rehearse.
        policies: names, see `policies.PLANS`.
        seed: of chance; all policies meet the same load and demand.
        on_progress: hears a policy and how many of its minutes are done.
        workers: threads; the result does not depend on them.

    Raises:
        ConfigurationError: an unknown policy or dial, or sites in the wrong order.
        RuleBrokenError: the twin broke a rule of `checks`.
    """
    began = time.perf_counter()
    plans = [plan_of(name) for name in policies]
    dials = policy_of(country)
    said = f"{country.name} {seed} {len(country.network)} {country.minutes}"
    trace = Trace(f"{said} {country.files_sha256}" if country.files_sha256 else said)
    outcomes: dict[str, PolicyOutcome] = {}
    tabulated: Tabulated = {}
    with Threads(workers) as threads:
        for plan in plans:
            outcomes[plan.name], _ = run_policy(
                country, plan, dials, seed, threads, trace, tabulated, on_progress
            )
    latitude, longitude = _middles(country)
    return Rehearsal(
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
    )


def policy_of(country: Country) -> Policy:
    """The orchestrator's dials, with those that the scenario sets.

    Raises:
        ConfigurationError: an unknown dial.
    """
    defaults = Policy().to_dict()
    return Policy.from_dict(defaults | country.dials, f"dials of {country.name}")


def run_policy(
    country: Country,
    plan: Plan,
    dials: Policy,
    seed: int,
    threads: Threads,
    trace: Trace,
    tabulated: Tabulated,
    on_progress: Progress | None = None,
    watch: Watch | None = None,
) -> tuple[PolicyOutcome, Tally]:
    """One policy's day, with the sums behind its figures.

    Args:
        country: to rehearse.
        plan: what the policy decides by.
        dials: of the orchestrator.
        seed: of chance.
        threads: to share work.
        trace: hears every decision and outcome.
        tabulated: responses of site types that another policy has needed already; added to.
        on_progress: hears the policy and how many of its minutes are done.
        watch: sees each minute, with its number.

    Raises:
        ConfigurationError: a day without minutes, or sites in the wrong order.
        RuleBrokenError: the twin broke a rule of `checks`.
    """
    if country.minutes < 1:
        raise ConfigurationError(
            f"a rehearsal of {country.minutes} minutes", next_step="give 1 or more"
        )
    ready = time.perf_counter()
    ground = ground_of(country, plan, dials)

    def tabulate() -> Responses:
        if ground.types not in tabulated:
            tabulated[ground.types] = responses_of(ground)
        return tabulated[ground.types]

    def know() -> tuple[radio.RadioTables, Known]:
        tables = radio.tables_of(country, max(round(GUARD_S * 1e3 / country.radio.slot_ms), 1))
        return tables, known_of(ground, tables, seed)

    (times,), ((tables, known),), _ = threads.together([tabulate], [know])
    day = Day(ground, plan, dials, tables, times, known, seed, threads, trace)
    day.tally.seconds["before the day"] = time.perf_counter() - ready

    def after(done: int) -> None:
        if watch:
            watch(done - 1, day.minute)
        if on_progress:
            on_progress(plan.name, done)

    sums = day.run(after)
    outcome = books.outcome_of(plan, ground, day.responses, sums, known.radio)
    trace.add(np.array(list(outcome.figures().values())))
    return outcome, sums


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _middles(country: Country) -> tuple[Series, Series]:
    """Mean position of each region's sites, weighted by customers."""
    network = country.network
    weight = network.customers + 1e-6
    total = np.bincount(network.region, weight, minlength=len(network.regions))
    total = np.maximum(total, 1e-300)
    latitude = np.bincount(network.region, weight * network.latitude_deg, len(total)) / total
    longitude = np.bincount(network.region, weight * network.longitude_deg, len(total)) / total
    return latitude, longitude
