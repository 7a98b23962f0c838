"""Whether a new version is promoted or rolled back: pure, from counts, cards and dials.

Requests are sent to the new version by lot, a share w of them. So if it is no worse, each bad thing
that happens (an error, a late first token) is the new version's with a probability of w at most,
whatever else goes on in the grid. That is tested with an e-process: the likelihood of what was
seen, were the new version worse by some factor (averaged over factors), over its likelihood at w.
Where the new version is no worse this is a supermartingale, so that it ever reaches 1/a with a
probability of a at most (Ville's inequality): it may be looked at all the time. Sources: Ramdas,
Grünwald, Vovk, Shafer, 'Game-theoretic statistics and safe anytime-valid inference', Statistical
Science 38(4), 2023; for two proportions Turner, Ly, Grünwald, 'Generic E-variables for exact
sequential k-sample tests that allow for optional stopping', 2024.

That test sees bad things only, and of five, where half of the requests go to the new version, it
learns little. So a version that looks worse than chance would have it, request for request, waits
as well (`chance.more_often`): waiting needs no proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from aigrid.control.chance import more_often
from aigrid.core.rollout import TTFT_EDGES_MS, TTFT_STEP, RolloutPlan, VersionCounts

# By how much a worse version may be worse: the alternatives that are averaged over.
WORSE = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)
# Tests that share the significance: errors, first tokens.
TESTS = 2
# Sites may die for any reason; one that dies so often with the new version on it dies of it.
DEATHS_LIMIT = 3
LOAD_FAILURES_LIMIT = 2
# A difference that chance alone would make less often is waited for: it fades, or becomes proof.
ODD = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is known of a rollout.

    Attributes:
        age_s: since it was asked for.
        watched_s: since a site served the new version; negative where none has.
        new: counts of the new version.
        old: counts of the old one, of requests that could as well have gone to the new one.
        new_card: measure on the new version's card, lower is better; negative for no card.
        old_card: likewise.
        deaths: times that a site which served the new version started anew.
        load_failures: most times in a row that one site failed to load it.
        room: whether any site has the memory for both versions.
    """

    age_s: float
    watched_s: float
    new: VersionCounts
    old: VersionCounts
    new_card: float = -1.0
    old_card: float = -1.0
    deaths: int = 0
    load_failures: int = 0
    room: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do.

    Attributes:
        verdict: one of `core.rollout.VERDICTS`; empty to wait.
        reason: one line, also while it waits.
    """

    verdict: str
    reason: str


def evidence(new: int, old: int, share: float, margin: float = 0.0) -> float:
    """How much speaks for bad things being the new version's too often, see the module's text.

    Args:
        new: bad things of the new version.
        old: of the old one.
        share: of requests that go to the new one, 0 to 1.
        margin: they may be more frequent by this fraction.

    Returns:
        natural logarithm of the e-value; 0 where nothing was seen.
    """
    return _log_mean([new * up + old * down for up, down in _steps(share, margin)])


@lru_cache(maxsize=64)
def _steps(share: float, margin: float) -> tuple[tuple[float, float], ...]:
    """What one bad thing of the new version, and one of the old, adds: for each of `WORSE`."""
    allowed = _part(share, 1.0 + margin)
    parts = [_part(share, (1.0 + margin) * worse) for worse in WORSE]
    return tuple(
        (math.log(part / allowed), math.log((1.0 - part) / (1.0 - allowed))) for part in parts
    )


def _part(share: float, ratio: float) -> float:
    """The new version's part of bad things that befall it `ratio` times as often."""
    return share * ratio / (share * ratio + 1.0 - share)


def _log_mean(logs: Sequence[float]) -> float:
    """Logarithm of the mean of values given by their logarithms."""
    peak = max(logs)
    return peak + math.log(sum(math.exp(log - peak) for log in logs) / len(logs))


def lateness(new: VersionCounts, old: VersionCounts, share: float, margin: float) -> float:
    """How much speaks for first tokens of the new version being later by more than `margin`.

    For each edge x of the histogram it counts the new version's answers later than x (1 + margin)
    and the old one's later than x: `evidence` of these. The mean of e-values is one. `margin` is
    rounded up to whole buckets.

    Returns:
        natural logarithm of the e-value.
    """
    if not (new.ttft and old.ttft):
        return 0.0
    shift = _buckets_of(margin)
    later_new, later_old = _later(new.ttft), _later(old.ttft)
    logs = [
        evidence(later_new[edge + shift], later_old[edge], share)
        for edge in range(len(TTFT_EDGES_MS) - shift)
    ]
    return _log_mean(logs) if logs else 0.0


def _later(buckets: Sequence[int]) -> list[int]:
    """For each edge, how many lie beyond it."""
    found, count = [], 0
    for held in reversed(buckets[1:]):
        count += held
        found.append(count)
    return found[::-1]


def decide(plan: RolloutPlan, seen: Seen) -> Decision:
    """Wait, promote or roll back.

    Rolled back at once: a card that is worse, a version that does not load or whose sites die,
    errors or lateness beyond the margin at the plan's significance. Promoted: after `min_s` and
    `min_requests` that it did not fail, without such evidence, nor half of it (in logarithms), nor
    a difference that chance would seldom make: then it waits. At `limit_s` what is still in doubt,
    or had too few requests to be judged, is rolled back.
    """
    if harm := _harm(plan, seen):
        return Decision("roll_back", harm)
    if missing := _missing(plan, seen):
        if seen.age_s >= plan.limit_s:
            return Decision("roll_back", f"not to be judged within {plan.limit_s:g} s: {missing}")
        return Decision("", missing)
    return Decision("promote", f"no worse: {compared(seen)}")


def _harm(plan: RolloutPlan, seen: Seen) -> str:
    """Why it is to be rolled back at once; empty for no reason."""
    if _has_cards(seen) and seen.new_card > seen.old_card * (1.0 + plan.card_margin):
        return f"its card is worse: {seen.new_card:g} after {seen.old_card:g}, lower is better"
    if seen.load_failures >= LOAD_FAILURES_LIMIT:
        return f"a site failed to load it {seen.load_failures} times"
    if seen.deaths >= DEATHS_LIMIT:
        return f"sites that served it started anew {seen.deaths} times"
    proof = math.log(TESTS / plan.significance)
    if _error_evidence(plan, seen) >= proof:
        return f"more errors: {compared(seen)}"
    if lateness(seen.new, seen.old, plan.share, plan.margin) >= proof:
        return f"later first tokens: {compared(seen)}"
    return ""


def _missing(plan: RolloutPlan, seen: Seen) -> str:
    """What it waits for; empty for nothing."""
    if not seen.room:
        return "no site has the memory for both versions"
    if seen.watched_s < 0.0:
        return "no site serves it yet"
    if seen.watched_s < plan.min_s:
        return f"watched for {seen.watched_s:.0f} of {plan.min_s:g} s"
    if (good := seen.new.requests - seen.new.errors) < plan.min_requests:
        failed = f", and {seen.new.errors} failed" if seen.new.errors else ""
        return f"{good} of {plan.min_requests} requests{failed}"
    doubt = math.log(TESTS / plan.significance) / 2.0
    if _error_evidence(plan, seen) >= doubt or _fails_oddly(plan, seen) < ODD:
        return f"errors are in doubt: {compared(seen)}"
    late = lateness(seen.new, seen.old, plan.share, plan.margin)
    if late >= doubt or _late_oddly(plan, seen) < ODD:
        return f"first tokens are in doubt: {compared(seen)}"
    return ""


def _fails_oddly(plan: RolloutPlan, seen: Seen) -> float:
    """How likely it would fail so often by chance, compared with the old one."""
    new, old = seen.new, seen.old
    return more_often(new.errors, new.requests, old.errors, old.requests, 1.0 + plan.margin)


def _late_oddly(plan: RolloutPlan, seen: Seen) -> float:
    """Likewise, that it is so often beyond the middle of all first tokens, its margin taken off."""
    new, old = seen.new.ttft, seen.old.ttft
    if not (new and old):
        return 1.0
    shift = _buckets_of(plan.margin)
    both = [own + other for own, other in zip(new[shift:], old, strict=False)]
    reached, edge, total = 0, 0, sum(both)
    while edge < len(both) and 2 * (reached + both[edge]) <= total:
        reached, edge = reached + both[edge], edge + 1
    late_new, late_old = sum(new[edge + shift :]), sum(old[edge:])
    return more_often(late_new, sum(new), late_old, sum(old))


def _buckets_of(margin: float) -> int:
    """Whole buckets of the histogram that a margin spans, rounded up."""
    return math.ceil(math.log(1.0 + margin) / math.log(TTFT_STEP) - 1e-9)


def _error_evidence(plan: RolloutPlan, seen: Seen) -> float:
    return evidence(seen.new.errors, seen.old.errors, plan.share, plan.margin)


def _has_cards(seen: Seen) -> bool:
    return seen.new_card >= 0.0 and seen.old_card >= 0.0


def compared(seen: Seen) -> str:
    """Both versions in figures, for people."""
    return f"new {_figures(seen.new)}; old {_figures(seen.old)}"


def _figures(counts: VersionCounts) -> str:
    said = f"{counts.errors} errors of {counts.requests}"
    middle_ms = quantile_ms(counts.ttft, 0.5)
    if middle_ms < 0.0:
        return said
    return f"{said}, first token {middle_ms:.0f} ms (95 %: {quantile_ms(counts.ttft, 0.95):.0f})"


def quantile_ms(buckets: Sequence[int], level: float) -> float:
    """The upper edge of the bucket in which a quantile lies; -1 where nothing was counted."""
    total = sum(buckets)
    if not total:
        return -1.0
    below = 0
    for at, count in enumerate(buckets):
        below += count
        if below >= level * total:
            return TTFT_EDGES_MS[min(at, len(TTFT_EDGES_MS) - 1)]
    return TTFT_EDGES_MS[-1]
