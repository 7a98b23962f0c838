"""What the verdict says, and that it is honest."""

from dataclasses import replace

import pytest
from tests.twin.report.made_up import outcome, rehearsal

from aigrid.twin.outcome import PolicyOutcome, Rehearsal
from aigrid.twin.report.verdict import kept, verdict

SLO_MS = {"ttft_ms:chat": 500.0, "tpot_ms:chat": 60.0}


def whole_day(*outcomes: PolicyOutcome) -> Rehearsal:
    return replace(rehearsal(*outcomes), minutes=1440)


def told(*outcomes: object) -> str:
    return " ".join(f.text for f in verdict(rehearsal(*outcomes), SLO_MS))


def test_ahead_of_everybody_and_within_the_radio_limit() -> None:
    findings = verdict(rehearsal(), SLO_MS)
    assert kept(findings)
    assert "2.0×10⁻⁶ of the slots; the limit is 10⁻⁵" in findings[0].text
    assert "more than every baseline: nearest (90.0%)" in findings[1].text
    assert "same capital" in findings[2].text


def test_a_day_that_does_not_pay_is_said() -> None:
    lines = {"ai_revenue_usd": 2e7, "capital_a_year_usd": 1.5e8, "energy_usd": 1e7}
    ours = replace(
        outcome("aigrid", 0), money={f"marginal:{name}": usd for name, usd in lines.items()}
    )
    text = " ".join(f.text for f in verdict(whole_day(ours), SLO_MS))
    assert "AI earns $20.0M a year and costs $160M" in text
    assert "does not pay for itself" in text
    assert "a year of such hours" in told(ours), "an hour of the night is no year"


def test_a_missed_radio_is_said_first() -> None:
    findings = verdict(
        rehearsal(outcome("aigrid", 0, slo=0.95, missed=2e-5), outcome("nearest", 1)), SLO_MS
    )
    assert findings[0].kept is False
    assert "over the limit" in findings[0].text


def test_a_baseline_ahead_is_named_with_what_it_costs_the_radio() -> None:
    ahead = outcome("least-loaded", 1, slo=0.93, missed=3e-3)
    findings = verdict(
        rehearsal(outcome("aigrid", 0, slo=0.9), ahead, outcome("nearest", 2, slo=0.5)), SLO_MS
    )
    assert not kept(findings)
    text = " ".join(f.text for f in findings)
    assert "least-loaded answers 3.0 percentage points more in time than aigrid" in text
    assert "misses 0.3% of the radio's slots for it" in text
    assert "more than nearest (50.0%)" in text
    assert "every baseline" not in text


def test_it_says_in_which_service_it_is_behind() -> None:
    ahead = replace(outcome("nearest", 0, slo=0.99), policy="nearest")
    text = told(outcome("aigrid", 2, slo=0.9), ahead)
    assert (
        "behind most in the TTFT of chat: 83.0% of the requests served keep it, not 96.4%" in text
    )


def test_a_tie_is_not_a_victory() -> None:
    findings = verdict(rehearsal(outcome("aigrid", 0), outcome("nearest", 1, slo=0.9001)), SLO_MS)
    assert not kept(findings)
    assert "no better than nearest (90.0%): a tie, less than 0.05" in findings[1].text


def test_what_tells_tied_policies_apart_is_said() -> None:
    """The same promises kept may come sooner for most, later for a few, and cost other energy."""
    ours = replace(outcome("aigrid", 0), ttft_ms_p50=8.9, ttft_ms_p99=96.8, energy_kwh=432e3)
    other = replace(ours, policy="central-only", ttft_ms_p50=14.1, ttft_ms_p99=28.7)
    text = told(ours, other)
    assert "first token p50 8.9, not 14.1 ms; p99 96.8, not 28.7 ms." in text
    assert "energy" not in text


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ((outcome("nearest", 0),), "was not rehearsed"),
        ((outcome("aigrid", 0),), "no baseline"),
        ((replace(outcome("aigrid", 0), requests=0.0), outcome("nearest", 1)), "no request came"),
    ],
)
def test_no_claim_where_nothing_was_compared(outcomes: tuple[object, ...], words: str) -> None:
    assert words in told(*outcomes)


def test_other_capital_is_said() -> None:
    dearer = replace(outcome("central-only", 1), money={"whole_site:capital_usd": 2e9})
    assert "Capital differs from that of central-only" in told(outcome("aigrid", 0), dearer)
