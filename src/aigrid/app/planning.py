"""From a scenario and wishes to a plan that its rehearsal confirms, and its files on disk."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.app.bundled import find_bundled
from aigrid.app.origin import code_commit
from aigrid.app.rehearsing import cores
from aigrid.core.errors import ConfigurationError

if TYPE_CHECKING:
    from aigrid.factory.progress import Progress
    from aigrid.twin.country.scenario import Country
    from aigrid.twin.models.service import Service
    from aigrid.twin.planning.model import Model
    from aigrid.twin.planning.rehearsed import Rehearsed
    from aigrid.twin.planning.rounds import Round
    from aigrid.twin.planning.search import Found
    from aigrid.twin.planning.seen import Seen

DEFAULT = "region"
DEVICES = ("l40s", "rtx-pro-6000", "h100", "b200")
# Up to so many sites a plan is rehearsed without being asked.
REHEARSED_SITES = 5_000
ROUNDS = 8
CSV, RESULT = "plan.csv", "plan.json"
PROMISES = {"ttft": "ttft_slo_ms", "tpot": "tpot_slo_ms"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants planned.

    Attributes:
        scenario: a file, or the name of a scenario that comes with aigrid.
        demand: `FACTOR`, or `SERVICE=FACTOR`.
        slo: `SHARE`, or `SERVICE:ttft=MS` or `SERVICE:tpot=MS`.
        budget_usd: of capital; None for no limit.
        devices: of the sheet, that may be bought; `DEVICES` where empty.
        towers: see `twin.planning.terms`.
        kinds: of sites where devices may be bought; all where empty.
        method: `auto`, `exact` or `fast`.
        rehearse: the plan; None: where it is small.
        seed: of sites and of the rehearsal's chance.
        limit_s: of HiGHS.
        rounds: of planning and rehearsing, at most.
        out: folder for the plan's sites; None for none.
    """

    scenario: str = DEFAULT
    demand: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    budget_usd: float | None = None
    devices: tuple[str, ...] = ()
    towers: str = "buy"
    kinds: tuple[str, ...] = ()
    method: str = "auto"
    rehearse: bool | None = None
    seed: int = 0
    limit_s: float = 60.0
    rounds: int = ROUNDS
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what its rehearsal showed, and where its files lie.

    Attributes:
        found: the plan.
        rehearsed: None where it was not rehearsed.
        rounds: of planning and rehearsing; none where it was not rehearsed.
        chosen: the round that is told as the plan.
        told: what `--json` prints.
        files: written.
    """

    found: Found
    rehearsed: Rehearsed | None
    rounds: tuple[Round, ...]
    chosen: int
    told: dict[str, Any]
    files: tuple[Path, ...]


def plan(wish: Wish, progress: Progress) -> Planned:
    """Load the scenario, plan it, rehearse the plan, write its files.

    Raises:
        ConfigurationError: a file, name or number that cannot be used.
        NotFoundError: no such scenario or device.
        UnavailableError: no plan was found in time.
        StorageError: the files cannot be written.
    """
    from aigrid.core.site import SITE_KINDS
    from aigrid.twin.country.files import load_country
    from aigrid.twin.fluid.rehearsal import policy_of
    from aigrid.twin.models.devices import known
    from aigrid.twin.planning import report
    from aigrid.twin.planning.fast import starts
    from aigrid.twin.planning.model import model_of
    from aigrid.twin.planning.rounds import best_of
    from aigrid.twin.planning.search import find
    from aigrid.twin.planning.terms import Terms

    progress.stage("reading", 0)
    country = load_country(find_bundled("scenarios", wish.scenario), wish.seed)
    country, share = _scaled(country, wish)
    terms = Terms(
        devices=tuple(known(name) for name in wish.devices or DEVICES),
        slo_share=share,
        budget_usd=math.inf if wish.budget_usd is None else wish.budget_usd,
        towers=wish.towers,
        kinds=wish.kinds or SITE_KINDS,
    )
    progress.stage("devices", 0)
    model = model_of(country, terms, policy_of(country))
    hear = _Heard(progress, wish.limit_s, len(starts(model, True)))
    found = find(model, wish.method, wish.limit_s, hear)
    rehearsed: Rehearsed | None = None
    rounds: tuple[Round, ...] = ()
    chosen = 0
    small = len(country.network) <= REHEARSED_SITES
    asked = small if wish.rehearse is None else wish.rehearse
    if asked and report.carried_share(found) > 0.0:
        rounds = _in_rounds(found, wish, progress, hear)
        chosen = best_of(rounds)
        found, rehearsed = rounds[chosen].found, rounds[chosen].rehearsed
    told = report.told(found, rehearsed, wish.seed, rounds) | {"commit": code_commit()}
    told = _finite(told)
    return Planned(found, rehearsed, rounds, chosen, told, _store(found, told, wish))


class _Heard:
    """Turns what the planner tells into stages of a bar.

    Args:
        progress: to tell.
        limit_s: of HiGHS, for who waits.
        starts: of the fast planner.
    """

    def __init__(self, progress: Progress, limit_s: float, starts: int) -> None:
        self._progress, self._stage = progress, ""
        self._shown = {"fast": "fast plan", "exact": f"exact, {limit_s:g} s at most"}
        self._totals = {"fast": starts}

    def __call__(self, stage: str, done: int) -> None:
        if stage != self._stage:
            self._stage = stage
            self._progress.stage(self._shown.get(stage, stage), self._totals.get(stage, 0))
        self._progress.advance(done)

    def over(self) -> None:
        """A further round begins with its first stage again."""
        self._stage = ""


def _in_rounds(found: Found, wish: Wish, progress: Progress, hear: _Heard) -> tuple[Round, ...]:
    from aigrid.twin.planning.rehearsed import rehearse_plan
    from aigrid.twin.planning.rounds import plan_in_rounds

    def rehearse(problem: Model, plan: Found, at: int) -> tuple[Rehearsed, Seen]:
        progress.stage(f"round {at + 1}, tables", 0)
        seen = 0

        def minute(done: int) -> None:
            nonlocal seen
            if not seen:
                progress.stage(f"round {at + 1}, a day", problem.country.minutes)
            progress.advance(done - seen)
            seen = done

        outcome = rehearse_plan(problem, plan.best, wish.seed, cores(), minute)
        hear.over()
        return outcome

    return plan_in_rounds(found, wish.limit_s, wish.rounds, rehearse, hear)


def _scaled(country: Country, wish: Wish) -> tuple[Country, float]:
    """The country with the demand and promises wished for, and the share that keeps them."""
    services = {service.name: service for service in country.services}
    for word in wish.demand:
        name, _, factor = word.rpartition("=")
        scale = _number(factor, f"--demand {word}")
        for chosen in _chosen(services, name, f"--demand {word}"):
            service = services[chosen]
            rate = service.requests_per_customer_day * scale
            services[chosen] = replace(service, requests_per_customer_day=rate)
    share = 0.95
    for word in wish.slo:
        head, _, value = word.rpartition("=")
        number = _number(value, f"--slo {word}")
        if not head:
            share = number
            continue
        services |= _promised(services, head, number, f"--slo {word}")
    return replace(country, services=tuple(services.values())), share


def _promised(
    services: dict[str, Service], head: str, number: float, origin: str
) -> dict[str, Service]:
    name, _, promise = head.rpartition(":")
    if promise not in PROMISES or number <= 0.0:
        raise ConfigurationError(
            f"{origin} is not understood",
            next_step="give a share such as 0.95, or SERVICE:ttft=MS, or SERVICE:tpot=MS",
        )
    changed: dict[str, Any] = {PROMISES[promise]: number}
    return {n: replace(services[n], **changed) for n in _chosen(services, name, origin)}


def _chosen(services: dict[str, Service], name: str, origin: str) -> list[str]:
    if name and name not in services:
        raise ConfigurationError(
            f"{origin}: there is no service {name!r}", next_step=f"known: {', '.join(services)}"
        )
    return [name] if name else list(services)


def _number(text: str, origin: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise ConfigurationError(f"{origin}: {text!r} is no number", next_step="give 0 or more")
    return value


def _store(found: Found, told: dict[str, Any], wish: Wish) -> tuple[Path, ...]:
    if wish.out is None:
        return ()
    from aigrid.store.durable import storing, write_durably
    from aigrid.twin.planning.report import CSV_COLUMNS, csv_rows

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(csv_rows(found))
    result = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    with storing("the plan", wish.out):
        wish.out.mkdir(parents=True, exist_ok=True)
        write_durably(wish.out / CSV, text.getvalue().encode())
        write_durably(wish.out / RESULT, result.encode())
    return (wish.out / CSV, wish.out / RESULT)


def _finite(value: Any) -> Any:
    """The same, with null for what JSON has no number for (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
