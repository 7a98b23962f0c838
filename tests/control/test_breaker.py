"""A replica that fails is left alone, asked, tried, trusted again; retries are never a storm."""

from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import breaker, retry
from aigrid.control.breaker import Breaker, BreakerPolicy
from aigrid.control.retry import RetryBudget, RetryPolicy

POLICY = BreakerPolicy(failures=3, open_s=1.0, longest_s=8.0)
EVENTS = st.sampled_from(["begin", "succeed", "fail", "gone", "let go", "lives", "dead", "wait"])


def play(events: list[str]) -> list[tuple[str, Breaker, float]]:
    """Each event that could happen, with the breaker and the time behind it."""
    now_s, one, seen = 0.0, Breaker(), []
    for event in events:
        if event == "begin" and breaker.admits(one):
            breaker.begin(one)
        elif event == "succeed":
            breaker.succeed(one)
        elif event in ("fail", "gone"):
            breaker.fail(POLICY, one, now_s, gone=event == "gone")
        elif event == "let go":
            breaker.let_go(one)
        elif event in ("lives", "dead") and breaker.wants_probe(one, now_s):
            breaker.probed(POLICY, one, now_s, lives=event == "lives")
        elif event == "wait":
            now_s += 0.7
        copy = Breaker(one.state, one.failures, one.openings, one.until_s, one.trial)
        seen.append((event, copy, now_s))
    return seen


@given(st.lists(EVENTS, max_size=60))
def test_breaker_keeps_its_rules_whatever_happens(events: list[str]) -> None:
    for event, now, at_s in play(events):
        assert 0 <= now.failures < POLICY.failures or now.state == "open"
        assert now.until_s - at_s <= POLICY.longest_s
        assert breaker.admits(now) == (
            now.state == "closed" or (now.state == "half-open" and not now.trial)
        )
        assert not (breaker.admits(now) and breaker.wants_probe(now, at_s))
        if event == "gone":
            assert now.state == "open"
        if event == "succeed":
            assert now == Breaker(until_s=now.until_s)


@given(st.lists(EVENTS, max_size=40))
def test_breaker_always_finds_the_way_back(events: list[str]) -> None:
    seen = play(events)
    _, one, now_s = seen[-1] if seen else ("", Breaker(), 0.0)
    if one.state == "open":
        breaker.probed(POLICY, one, now_s + POLICY.longest_s, lives=True)
    breaker.let_go(one)
    assert breaker.admits(one)
    breaker.begin(one)
    breaker.succeed(one)
    assert one.state == "closed"


def test_failures_open_it_and_every_vain_trial_doubles_its_time() -> None:
    one = Breaker()
    assert [breaker.fail(POLICY, one, 0.0, gone=False) for _ in range(3)] == [False, False, True]
    waits = []
    now_s = 0.0
    for _ in range(5):
        waits.append(one.until_s - now_s)
        now_s = one.until_s
        assert breaker.wants_probe(one, now_s)
        breaker.probed(POLICY, one, now_s, lives=True)
        breaker.begin(one)
        assert not breaker.admits(one)
        breaker.fail(POLICY, one, now_s, gone=False)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 2.0)), max_size=200),
    st.integers(1, 20),
    st.floats(0.0, 1.0),
)
def test_retries_stay_within_their_budget(
    steps: list[tuple[bool, float]], burst: int, share: float
) -> None:
    policy = RetryPolicy(share=share, burst=burst, per_s=2.0)
    budget, now_s, taken, requests = RetryBudget(float(burst), 0.0), 0.0, 0, 0
    for is_request, pause_s in steps:
        now_s += pause_s
        if is_request:
            requests += 1
            retry.earn(policy, budget)
            continue
        wait_s = retry.take(policy, budget, now_s)
        taken += wait_s == 0.0
        assert 0.0 <= wait_s <= 1.0 / policy.per_s
        assert 0.0 <= budget.stock <= burst
    assert taken <= burst + share * requests + policy.per_s * now_s + 1e-6


@given(st.integers(0, 10_000))
def test_pauses_grow_to_their_limit(rounds: int) -> None:
    assert 0.05 <= retry.pause_s(rounds) <= retry.pause_s(rounds + 1) <= 1.0
