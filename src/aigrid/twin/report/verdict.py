"""Whether our policy keeps what was promised, said plainly, and where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from aigrid.twin.outcome import PolicyOutcome, Rehearsal, Series
from aigrid.twin.report.figures import NONE, count, ms, mwh, rate, share, simulated, usd

OURS = "aigrid"
RADIO_LIMIT = 1e-5
# Attainments closer than this are called equal: a twentieth of a percentage point.
ALIKE = 5e-4
DAY_MIN = 1440
# Capital that differs by less than this is equal.
SAME_CAPITAL = 1e-6
# `ttft_ms:SERVICE` or `tpot_ms:SERVICE`, as histograms are named, to ms.
Promised = Mapping[str, float]
CAPITAL = "whole_site:capital_usd"
# Of a year: what AI earns, then what it costs.
MARGINAL = ("ai_revenue_usd", "capital_a_year_usd", "energy_usd")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the verdict.

    Attributes:
        kept: whether the promise holds; None for a remark.
        text: the sentence.
    """

    kept: bool | None
    text: str


def verdict(rehearsal: Rehearsal, promised: Promised) -> tuple[Finding, ...]:
    """Radio, service level against each baseline, whether capital was equal, what AI earns.

    Args:
        rehearsal: what was found.
        promised: what services promise, to say where ours is behind; may be empty.
    """
    ours = rehearsal.policies.get(OURS)
    if ours is None:
        return (Finding(None, f"Policy {OURS} was not rehearsed, so there is no verdict on it."),)
    others = [outcome for outcome in rehearsal.policies.values() if outcome.policy != OURS]
    return (
        _radio(ours),
        *_levels(ours, others, promised),
        *_capital(ours, others),
        *_money(ours, rehearsal.minutes),
    )


def kept(findings: tuple[Finding, ...]) -> bool:
    """Whether every promise holds."""
    return all(finding.kept is not False for finding in findings)


def _radio(ours: PolicyOutcome) -> Finding:
    missed, limit = rate(ours.radio_miss_rate), rate(RADIO_LIMIT)
    if ours.radio_miss_rate <= RADIO_LIMIT:
        return Finding(True, f"Radio: {OURS} misses {missed} of the slots; the limit is {limit}.")
    return Finding(False, f"Radio: {OURS} misses {missed} of the slots, over the limit of {limit}.")


def _levels(ours: PolicyOutcome, others: list[PolicyOutcome], promised: Promised) -> list[Finding]:
    if not others:
        return [Finding(None, "Service level: no baseline was rehearsed beside it.")]
    if ours.requests <= 0:
        return [Finding(None, "Service level: no request came.")]
    lead = "Service level"
    behind = [o for o in others if o.slo_attainment > ours.slo_attainment + ALIKE]
    equal = [o for o in others if abs(o.slo_attainment - ours.slo_attainment) <= ALIKE]
    beaten = [o for o in others if o not in behind and o not in equal]
    mine = share(ours.slo_attainment)
    found = []
    if beaten:
        told = _named(beaten)
        every = "every baseline: " if len(beaten) == len(others) else ""
        found.append(
            Finding(True, f"{lead}: {OURS} answers {mine} in time, more than {every}{told}.")
        )
    if equal:
        found.append(
            Finding(
                False,
                f"{lead}: {OURS} ({mine}) is no better than {_named(equal)}: a tie, less than "
                f"{100.0 * ALIKE:.2g} percentage points apart.",
            )
        )
    found += [Finding(None, text) for text in map(partial(_beside, ours), equal) if text]
    for other in behind:
        text = f"{lead}: {_ahead(ours, other)}{_most_late(ours, other, promised)}"
        found.append(Finding(False, text))
    return found


def _beside(ours: PolicyOutcome, other: PolicyOutcome) -> str:
    """What else tells two policies apart that keep as many promises; empty where nothing does."""
    pairs = [
        ("first token p50", ms(ours.ttft_ms_p50), ms(other.ttft_ms_p50), "ms"),
        ("p99", ms(ours.ttft_ms_p99), ms(other.ttft_ms_p99), "ms"),
        ("energy", mwh(ours.energy_kwh), mwh(other.energy_kwh), "MWh"),
    ]
    told = [
        f"{name} {mine}, not {theirs} {unit}"
        for name, mine, theirs, unit in pairs
        if mine != theirs and NONE not in (mine, theirs)
    ]
    return f"Beside {other.policy}, {OURS} has: {'; '.join(told)}." if told else ""


def _ahead(ours: PolicyOutcome, other: PolicyOutcome) -> str:
    more = 100.0 * (other.slo_attainment - ours.slo_attainment)
    text = f"{other.policy} answers {more:.1f} percentage points more in time than {OURS}"
    if other.radio_miss_rate > RADIO_LIMIT:
        return f"{text}, and misses {rate(other.radio_miss_rate)} of the radio's slots for it."
    refused = ours.refused - other.refused
    if refused > 0:
        return f"{text}; {OURS} refuses {count(refused)} requests more."
    return f"{text}."


def _most_late(ours: PolicyOutcome, other: PolicyOutcome, promised: Promised) -> str:
    """The promise in which most of the requests are that the other kept and ours did not."""
    apart = [
        (mine.requests * (theirs.part - mine.part), name, mine.part, theirs.part)
        for name, limit_ms in promised.items()
        if (mine := _in_time(ours.histograms.get(name), limit_ms))
        and (theirs := _in_time(other.histograms.get(name), limit_ms))
    ]
    lost, name, mine_part, their_part = max(apart, default=(0.0, "", 0.0, 0.0))
    if lost <= 0.0:
        return ""
    measure, service = name.split(":", 1)
    return (
        f" {OURS} lies behind most in the {measure.removesuffix('_ms').upper()} of {service}: "
        f"{share(mine_part)} of the requests served keep it, not {share(their_part)}."
    )


class _InTime(NamedTuple):
    part: float
    requests: float


def _in_time(histogram: Series | None, limit_ms: float) -> _InTime | None:
    """Part of requests within a time, and how many there are; straight within a bin."""
    if histogram is None or histogram[1].sum() <= 0.0:
        return None
    edges, counts = histogram
    total = float(counts.sum())
    return _InTime(float(np.interp(limit_ms, edges, np.cumsum(counts) / total)), total)


def _named(outcomes: list[PolicyOutcome]) -> str:
    ranked = sorted(outcomes, key=lambda o: -o.slo_attainment)
    return ", ".join(f"{o.policy} ({share(o.slo_attainment)})" for o in ranked)


def _capital(ours: PolicyOutcome, others: list[PolicyOutcome]) -> list[Finding]:
    mine = ours.money.get(CAPITAL)
    if mine is None or not others:
        return []
    unlike = [
        o.policy
        for o in others
        if abs(o.money.get(CAPITAL, mine) - mine) > SAME_CAPITAL * max(abs(mine), 1.0)
    ]
    if unlike:
        return [Finding(None, f"Capital differs from that of {', '.join(unlike)}: compare costs.")]
    return [Finding(None, "All policies have the same capital.")]


def _money(ours: PolicyOutcome, minutes: int) -> list[Finding]:
    """What AI adds to sites that stand anyway, in a sentence: a day well served may not pay."""
    if minutes % DAY_MIN:
        part = "is not whole days, so money is that of a year of such hours"
        return [Finding(None, f"Money: {simulated(minutes)} {part}, not of days.")]
    lines = {name: ours.money.get(f"marginal:{name}") for name in MARGINAL}
    earned, *costs = lines.values()
    if earned is None or None in costs:
        return []
    cost = sum(value for value in costs if value is not None)
    pays = "pays for itself" if earned >= cost else "does not pay for itself"
    return [
        Finding(
            None,
            f"Money: added to sites that stand anyway, AI earns {usd(earned)} a year and costs "
            f"{usd(cost)}: at these prices and this demand it {pays}.",
        )
    ]
