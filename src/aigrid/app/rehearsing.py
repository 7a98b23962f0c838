"""From a scenario to a rehearsal and its report on disk."""

from __future__ import annotations

import json
import math
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.app.bundled import bundled_folder, find_bundled
from aigrid.app.origin import code_commit
from aigrid.app.scenarios import reading
from aigrid.core.errors import ConfigurationError, NotFoundError
from aigrid.twin.policies import PLANS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aigrid.factory.progress import Progress
    from aigrid.twin.country.scenario import Country
    from aigrid.twin.outcome import Rehearsal

DEFAULT = "japan"
REGION = "region"
FOLDER = "rehearsals"
POLICIES = tuple(plan.name for plan in PLANS)
REPORT, RESULT = "report.html", "rehearsal.json"
MINUTES_LIMIT = 7 * 1440
RATE_LIMIT = 100_000.0
# In place of a trace: requests drawn from the scenario's demand.
SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants rehearsed.

    Attributes:
        scenario: a file, or the name of a scenario that comes with aigrid.
        policies: names; the scenario's own where empty.
        seed: of chance.
        minutes: to simulate; the scenario's own where None.
        requests: a trace to rehearse request by request, or `SYNTHETIC`; flows where None.
        service: that the trace's requests ask for; the scenario's first where None.
        rate: requests a second of that service, mean over a day; the scenario's where None.
        workers: threads, on which the result does not depend; one a core where None.
        out: folder of the report; `rehearsals/NAME-SEED` where None.
    """

    scenario: str = DEFAULT
    policies: tuple[str, ...] = ()
    seed: int = 0
    minutes: int | None = None
    requests: str | None = None
    service: str | None = None
    rate: float | None = None
    workers: int | None = None
    out: Path | None = None

    def command(self) -> str:
        """The command that repeats it, but for where its report goes."""
        words = ["aigrid", "rehearse", self.scenario]
        for policy in self.policies:
            words += ["--policy", policy]
        words += ["--seed", str(self.seed)]
        if self.minutes is not None:
            words += ["--minutes", str(self.minutes)]
        if self.requests is not None:
            words += ["--requests", self.requests]
        if self.service is not None:
            words += ["--service", self.service]
        if self.rate is not None:
            words += ["--rate", f"{self.rate:g}"]
        return shlex.join(words)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal and where its report lies.

    Attributes:
        country: what was rehearsed.
        rehearsal: what was found.
        report: the page.
        result: `rehearsal.json`.
        told: what is in it.
    """

    country: Country
    rehearsal: Rehearsal
    report: Path
    result: Path
    told: dict[str, Any]


def rehearse(wish: Wish, progress: Progress) -> Rehearsed:
    """Load the scenario, rehearse its day under each policy, write report and result.

    Raises:
        ConfigurationError: a file, policy or number that cannot be used.
        NotFoundError: no such scenario.
        StorageError: the report cannot be written.
    """
    _check(wish)
    path = find_bundled("scenarios", wish.scenario)
    progress.stage("reading", 0)
    country = _country(path, wish, progress)
    policies = wish.policies or country.policies
    found = _run(country, policies, wish, progress)
    # A trace says more about its service than the scenario does.
    country = getattr(found, "country", None) or country
    folder = wish.out or Path(FOLDER) / f"{found.scenario}-{found.seed}"
    progress.stage("report", 0)
    return _store(country, found, wish, folder)


def _check(wish: Wish) -> None:
    for policy in wish.policies:
        if policy not in POLICIES:
            raise ConfigurationError(
                f"--policy {policy!r} is not known", next_step=f"use one of {', '.join(POLICIES)}"
            )
    if len(set(wish.policies)) < len(wish.policies):
        raise ConfigurationError(
            f"--policy was given twice: {', '.join(wish.policies)}", next_step="name each once"
        )
    if wish.requests not in (None, SYNTHETIC) and not Path(str(wish.requests)).is_file():
        raise NotFoundError(
            f"--requests {wish.requests!r} is no file",
            next_step="give a trace: CSV with TIMESTAMP,ContextTokens,GeneratedTokens, or JSONL; "
            f"or {SYNTHETIC}, to draw requests from the scenario's demand",
        )
    if wish.requests in (None, SYNTHETIC) and (wish.service is not None or wish.rate is not None):
        raise ConfigurationError(
            "--service and --rate say how a trace is played", next_step="give --requests TRACE"
        )
    if wish.rate is not None and not 0.0 < wish.rate <= RATE_LIMIT:
        raise ConfigurationError(
            f"--rate {wish.rate:g} requests a second", next_step=f"give up to {RATE_LIMIT:,.0f}"
        )
    if wish.minutes is not None and not 1 <= wish.minutes <= MINUTES_LIMIT:
        raise ConfigurationError(
            f"--minutes {wish.minutes}", next_step=f"give 1 to {MINUTES_LIMIT:,}"
        )


def _country(path: Path, wish: Wish, progress: Progress) -> Country:
    from aigrid.twin.country.files import load_country

    country = load_country(path, wish.seed, reading(progress))
    return country if wish.minutes is None else replace(country, minutes=wish.minutes)


def _run(country: Country, policies: tuple[str, ...], wish: Wish, progress: Progress) -> Rehearsal:
    if wish.requests is not None:
        return _run_events(country, policies, wish, progress)
    from aigrid.twin.fluid import rehearse as rehearse_country

    hear = _heard(progress, policies, country.minutes)
    return rehearse_country(country, policies, wish.seed, hear, wish.workers or cores())


def _run_events(
    country: Country, policies: tuple[str, ...], wish: Wish, progress: Progress
) -> Rehearsal:
    from aigrid.twin.country.traces import read_trace
    from aigrid.twin.region import playing
    from aigrid.twin.region.rehearsal import rehearse as rehearse_events

    if wish.requests == SYNTHETIC:
        hear = _heard(progress, policies, country.minutes)
        return rehearse_events(country, policies, wish.seed, hear)
    path = Path(str(wish.requests))
    trace = read_trace(path)
    row = playing.service_row(country, wish.service)
    country = playing.adapted(country, trace, row, wish.rate)
    played = playing.played(country, trace, row, wish.seed)
    if wish.minutes is None:
        country = replace(country, minutes=min(played.minutes, MINUTES_LIMIT))
    hear = _heard(progress, policies, country.minutes)
    return rehearse_events(country, policies, wish.seed, hear, played, path.name)


def _heard(
    progress: Progress, policies: tuple[str, ...], minutes: int
) -> Callable[[str, int], None]:
    """Progress of each policy, in minutes of its day."""
    progress.stage("rehearsing", len(policies) * minutes)
    done = dict.fromkeys(policies, 0)

    def hear(policy: str, minute: int) -> None:
        progress.advance(minute - done[policy], policy=policy)
        done[policy] = minute

    return hear


def _store(country: Country, found: Rehearsal, wish: Wish, folder: Path) -> Rehearsed:
    from aigrid.store.durable import storing, write_durably
    from aigrid.twin.published import results
    from aigrid.twin.report.page import page
    from aigrid.twin.report.setting import setting_of

    published = tuple(results(bundled_folder("scenarios") / "published"))
    setting = setting_of(country, commit=code_commit(), command=wish.command(), published=published)
    text = page(found, setting)
    told = without_nan(found.to_dict() | {"commit": code_commit()})
    result = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    with storing("the report", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / RESULT, result.encode())
        write_durably(folder / REPORT, text.encode())
    return Rehearsed(country, found, folder / REPORT, folder / RESULT, told)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def without_nan(value: Any) -> Any:
    """The same, with null for what JSON has no number for (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
