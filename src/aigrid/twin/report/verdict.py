"""Whether our policy keeps what was promised, said plainly, and where it does not."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.twin.outcome import PolicyOutcome, Rehearsal
from aigrid.twin.report.figures import count, rate, share

OURS = "aigrid"
RADIO_LIMIT = 1e-5
# Attainments closer than this are called equal: a twentieth of a percentage point.
ALIKE = 5e-4
# Capital that differs by less than this is equal.
SAME_CAPITAL = 1e-6
CAPITAL = "whole_site:capital_usd"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the verdict.

    Attributes:
        kept: whether the promise holds; None for a remark.
        text: the sentence.
    """

    kept: bool | None
    text: str


def verdict(rehearsal: Rehearsal) -> tuple[Finding, ...]:
    """Radio first, then service level against each baseline, then whether capital was equal."""
    ours = rehearsal.policies.get(OURS)
    if ours is None:
        return (Finding(None, f"Policy {OURS} was not rehearsed, so there is no verdict on it."),)
    others = [outcome for outcome in rehearsal.policies.values() if outcome.policy != OURS]
    return (_radio(ours), *_levels(ours, others), *_capital(ours, others))


def kept(findings: tuple[Finding, ...]) -> bool:
    """Whether every promise holds."""
    return all(finding.kept is not False for finding in findings)


def _radio(ours: PolicyOutcome) -> Finding:
    missed, limit = rate(ours.radio_miss_rate), rate(RADIO_LIMIT)
    if ours.radio_miss_rate <= RADIO_LIMIT:
        return Finding(True, f"Radio: {OURS} misses {missed} of the slots; the limit is {limit}.")
    return Finding(False, f"Radio: {OURS} misses {missed} of the slots, over the limit of {limit}.")


def _levels(ours: PolicyOutcome, others: list[PolicyOutcome]) -> list[Finding]:
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
        found.append(Finding(False, f"{lead}: {OURS} ({mine}) is no better than {_named(equal)}."))
    found += [Finding(False, f"{lead}: {_ahead(ours, other)}") for other in behind]
    return found


def _ahead(ours: PolicyOutcome, other: PolicyOutcome) -> str:
    more = 100.0 * (other.slo_attainment - ours.slo_attainment)
    text = f"{other.policy} answers {more:.1f} percentage points more in time than {OURS}"
    if other.radio_miss_rate > RADIO_LIMIT:
        return f"{text}, and misses {rate(other.radio_miss_rate)} of the radio's slots for it."
    refused = ours.refused - other.refused
    if refused > 0:
        return f"{text}; {OURS} refuses {count(refused)} requests more."
    return f"{text}."


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
    return [Finding(None, "All policies have the same sites, and so the same capital.")]
