import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import rollout
from aigrid.control.rollout import Seen, decide, evidence, lateness
from aigrid.core.errors import ConfigurationError
from aigrid.core.rollout import TTFT_BUCKETS, TTFT_EDGES_MS, RolloutPlan, VersionCounts

PLAN = RolloutPlan()
counts = st.integers(0, 400)
shares = st.floats(0.01, 0.9)
margins = st.floats(0.0, 1.0)


def answered(requests: int, errors: int = 0, ttft_ms: float = 20.0) -> VersionCounts:
    """Every answer streamed, its first token after `ttft_ms`."""
    buckets = [0] * TTFT_BUCKETS
    buckets[int(np.searchsorted(TTFT_EDGES_MS, ttft_ms))] = requests - errors
    return VersionCounts(requests, errors, tuple(buckets), ttft_ms * (requests - errors))


def seen(new: VersionCounts, old: VersionCounts, **more: float) -> Seen:
    return Seen(**{"age_s": 120.0, "watched_s": 100.0, "new": new, "old": old} | more)


# -- the test ----------------------------------------------------------------------------------


@given(counts, counts, shares, margins, st.floats(0.0, 1.0))
def test_no_evidence_is_to_be_expected_against_a_version_that_is_no_worse(
    new, old, share, margin, part
):
    """A supermartingale: one more bad thing makes it grow on average under no fair chance."""
    allowed = share * (1.0 + margin) / (share * (1.0 + margin) + 1.0 - share)
    chance = part * allowed
    now = evidence(new, old, share, margin)
    then_new = evidence(new + 1, old, share, margin) - now
    then_old = evidence(new, old + 1, share, margin) - now
    assert chance * math.exp(then_new) + (1.0 - chance) * math.exp(then_old) <= 1.0 + 1e-9


@given(counts, counts, shares, margins)
def test_evidence_grows_with_errors_of_the_new_version_and_falls_with_those_of_the_old(
    new, old, share, margin
):
    now = evidence(new, old, share, margin)
    assert evidence(new + 1, old, share, margin) > now
    assert evidence(new, old + 1, share, margin) < now
    assert evidence(0, 0, share, margin) == pytest.approx(0.0)
    assert evidence(new, old, share, margin + 0.1) <= now + 1e-9 or new == 0


def test_looking_after_every_request_raises_no_false_alarm_beyond_the_significance():
    """1000 rollouts of a version exactly as good, watched over 300 errors each."""
    rng = np.random.default_rng(3)
    proof = math.log(rollout.TESTS / PLAN.significance)
    alarms = 0
    for _ in range(1000):
        falls = np.cumsum(rng.random(300) < PLAN.share).tolist()
        looks = range(0, 300, 3)
        alarms += any(evidence(falls[n], n + 1 - falls[n], PLAN.share) >= proof for n in looks)
    assert alarms <= 1000 * PLAN.significance / rollout.TESTS * 1.5


@given(counts, st.floats(0.05, 0.5))
def test_the_same_times_to_first_token_are_no_evidence(requests, share):
    ours, theirs = answered(requests, ttft_ms=80.0), answered(9 * requests, ttft_ms=80.0)
    proof = math.log(rollout.TESTS / PLAN.significance)
    if share >= 0.1:
        assert lateness(ours, theirs, share, 0.1) < proof


def test_first_tokens_within_the_margin_are_no_evidence_and_beyond_it_are():
    theirs = answered(1800, ttft_ms=80.0)
    within = answered(200, ttft_ms=80.0 * 1.18)
    beyond = answered(200, ttft_ms=80.0 * 2.0)
    assert lateness(within, theirs, 0.1, 0.2) <= 0.0
    assert lateness(beyond, theirs, 0.1, 0.2) > 50.0


# -- the decision ------------------------------------------------------------------------------

version_counts = st.builds(
    lambda good, errors, ttft_ms: answered(good + errors, errors, ttft_ms),
    st.integers(0, 2000),
    st.integers(0, 200),
    st.floats(0.5, 90_000.0),
)
seens = st.builds(
    Seen,
    age_s=st.floats(0.0, 5000.0),
    watched_s=st.floats(-1.0, 5000.0),
    new=version_counts,
    old=version_counts,
    new_card=st.sampled_from((-1.0, 1.0, 1.01, 2.0)),
    old_card=st.sampled_from((-1.0, 1.0)),
    deaths=st.integers(0, 4),
    load_failures=st.integers(0, 3),
)


@given(seens)
def test_every_rollout_is_decided_by_its_limit_and_always_with_a_reason(case):
    decision = decide(PLAN, case)
    assert decision.verdict in ("", "promote", "roll_back")
    assert decision.reason
    assert decide(PLAN, replace(case, age_s=PLAN.limit_s)).verdict


@given(seens)
def test_a_version_is_promoted_only_after_time_and_requests_enough(case):
    if decide(PLAN, case).verdict == "promote":
        assert case.watched_s >= PLAN.min_s
        assert case.new.requests - case.new.errors >= PLAN.min_requests


@given(seens, st.integers(1, 500))
def test_more_errors_of_the_new_version_never_turn_a_rollback_into_a_promotion(case, more):
    if decide(PLAN, case).verdict == "roll_back":
        worse = replace(
            case, new=case.new + VersionCounts(requests=more, errors=more), deaths=case.deaths
        )
        assert decide(PLAN, worse).verdict == "roll_back"


def test_a_version_as_good_as_the_old_one_is_promoted():
    decision = decide(PLAN, seen(answered(120, 1), answered(1080, 9)))
    assert decision.verdict == "promote"
    assert "1 errors of 120" in decision.reason


def test_a_version_that_fails_is_rolled_back_after_a_handful_of_errors():
    assert decide(PLAN, seen(answered(4, 3), answered(30))).verdict == "roll_back"
    assert "more errors" in decide(PLAN, seen(answered(4, 3), answered(30))).reason
    assert decide(PLAN, seen(answered(4, 1), answered(30))).verdict == ""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.58, 0.95])
def test_a_version_that_always_fails_is_never_promoted_however_few_are_asked_for(share):
    plan = replace(PLAN, share=share, min_requests=5, min_s=0.0)
    for failed in range(1, 60):
        theirs = answered(round(failed * (1.0 - share) / share))
        decision = decide(plan, seen(answered(failed, failed), theirs))
        assert decision.verdict != "promote"
        if decision.verdict == "roll_back":
            assert "more errors" in decision.reason
            return
    # With 95% of all requests the errors alone prove little: it is not judged within the limit.
    assert share == 0.95


def test_a_version_that_fails_half_of_few_requests_waits():
    plan = replace(PLAN, share=0.58, min_requests=5, min_s=0.0)
    decision = decide(plan, seen(answered(10, 5), answered(7)))
    assert decision.verdict == "" and "in doubt" in decision.reason
    assert decide(plan, seen(answered(10, 1), answered(7))).verdict == "promote"


def test_a_version_that_is_late_at_few_requests_waits():
    plan = replace(PLAN, share=0.5, min_requests=6, min_s=0.0)
    slow = seen(answered(6, 0, 400.0), answered(6, 0, 40.0))
    assert "first tokens are in doubt" in decide(plan, slow).reason
    same = seen(answered(6, 0, 40.0), answered(6, 0, 40.0))
    assert decide(plan, same).verdict == "promote"


def test_a_slow_version_is_rolled_back_for_its_first_tokens():
    decision = decide(PLAN, seen(answered(60, 0, 200.0), answered(540, 0, 40.0)))
    assert decision.verdict == "roll_back"
    assert "later first tokens" in decision.reason


def test_a_worse_card_is_rolled_back_before_any_request():
    nothing = VersionCounts()
    case = seen(nothing, nothing, watched_s=-1.0, new_card=2.2, old_card=2.0)
    assert "card is worse" in decide(PLAN, case).reason
    assert decide(PLAN, replace(case, new_card=2.03)).verdict == ""
    assert decide(PLAN, replace(case, new_card=-1.0)).verdict == ""


def test_doubt_waits_and_at_the_limit_is_rolled_back():
    doubtful = seen(answered(1000, 2), answered(9000, 0))
    assert "in doubt" in decide(PLAN, doubtful).reason
    assert decide(PLAN, doubtful).verdict == ""
    ended = decide(PLAN, replace(doubtful, age_s=PLAN.limit_s))
    assert ended.verdict == "roll_back"
    assert "not to be judged" in ended.reason


def test_too_little_traffic_is_rolled_back_at_the_limit():
    little = seen(answered(3), answered(30), age_s=PLAN.limit_s)
    assert decide(PLAN, little).verdict == "roll_back"
    assert "3 of 100 requests" in decide(PLAN, little).reason


def test_a_version_that_does_not_load_or_takes_its_sites_down_is_rolled_back():
    nothing = seen(VersionCounts(), VersionCounts())
    assert decide(PLAN, replace(nothing, load_failures=2)).verdict == "roll_back"
    assert decide(PLAN, replace(nothing, deaths=3)).verdict == "roll_back"


def test_plans_and_counts_that_cannot_be_are_refused():
    for wrong in ({"share": 0.0}, {"share": 1.0}, {"significance": 0.0}, {"min_s": 7200.0}):
        with pytest.raises(ConfigurationError, match="cannot be"):
            RolloutPlan(**wrong)
    with pytest.raises(ConfigurationError):
        VersionCounts(requests=1, errors=2)
    with pytest.raises(ConfigurationError):
        VersionCounts(ttft=(1, 2))


@given(version_counts, version_counts)
def test_counts_of_gateways_add_up(one, other):
    both = one + other
    assert both.requests == one.requests + other.requests
    assert sum(both.ttft) == sum(one.ttft) + sum(other.ttft)
