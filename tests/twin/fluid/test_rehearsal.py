"""A small country's hour under each policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.core.errors import ConfigurationError
from aigrid.twin.fluid import rehearse
from aigrid.twin.fluid.ground import centralised
from aigrid.twin.outcome import Rehearsal
from aigrid.twin.policies import PLANS

EVERY = tuple(plan.name for plan in PLANS)


@pytest.fixture(scope="module")
def rehearsed() -> Rehearsal:
    return rehearse(small.busy(minutes=60), EVERY, seed=1)


def test_every_request_is_served_refused_or_in_line(rehearsed: Rehearsal) -> None:
    for outcome in rehearsed.policies.values():
        left = outcome.requests - outcome.served - outcome.refused
        assert left == pytest.approx(outcome.series["in_line"][-1], abs=1e-6 * outcome.requests)


def test_all_policies_meet_the_same_radio_and_demand(rehearsed: Rehearsal) -> None:
    ours = rehearsed.policies["aigrid"]
    for outcome in rehearsed.policies.values():
        assert outcome.requests == pytest.approx(ours.requests, rel=1e-12)
        assert outcome.utilisation_radio_only == ours.utilisation_radio_only


def test_the_guard_keeps_the_radio_within_its_promise_and_a_fixed_partition_does_not(
    rehearsed: Rehearsal,
) -> None:
    assert rehearsed.policies["aigrid"].radio_miss_rate <= 1e-5
    assert rehearsed.policies["radio-only"].radio_miss_rate == 0.0
    assert rehearsed.policies["static-split"].radio_miss_rate > 1e-4
    assert rehearsed.policies["aigrid"].idle_reclaimed > 0.3


def test_a_share_that_ignores_the_radio_is_seen_in_missed_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is kept for the radio is what keeps it safe: with less, slots are missed."""
    monkeypatch.setattr("aigrid.twin.fluid.radio.LATE", 0.05)
    careless = rehearse(small.busy(minutes=30), ["aigrid"], seed=1).policies["aigrid"]
    assert careless.radio_miss_rate > 1e-5


def test_radio_only_sells_nothing(rehearsed: Rehearsal) -> None:
    alone = rehearsed.policies["radio-only"]
    assert (alone.served, alone.refused) == (0.0, alone.requests)
    assert alone.utilisation_mean < rehearsed.policies["aigrid"].utilisation_mean
    assert alone.energy_kwh < rehearsed.policies["aigrid"].energy_kwh
    assert np.isnan(alone.ttft_ms_p50)


def test_central_only_spends_the_same_capital(rehearsed: Rehearsal) -> None:
    ours, central = rehearsed.policies["aigrid"], rehearsed.policies["central-only"]
    name = "whole_site:capital_usd"
    assert central.money[name] == pytest.approx(ours.money[name], rel=1e-9)
    assert any("Equal capital" in note for note in central.notes)
    assert central.idle_reclaimed == 0.0


def test_only_what_is_saved_moves_to_the_factories() -> None:
    country = small.country()
    moved = centralised(country).network
    towers = country.network.cells > 0
    assert np.array_equal(moved.devices[towers], country.network.devices[towers])
    assert moved.devices[~towers][0] > country.network.devices[0]
    assert not moved.devices[1:5].any()


def test_figures_series_regions_and_histograms_agree(rehearsed: Rehearsal) -> None:
    ours = rehearsed.policies["aigrid"]
    assert ours.series["utilisation"].mean() == pytest.approx(ours.utilisation_mean)
    assert ours.series["tokens_per_s"].mean() == pytest.approx(ours.tokens_per_s_mean)
    counted = sum(ours.histograms[f"ttft_ms:{s}"][1].sum() for s in ("chat", "vision"))
    assert counted == pytest.approx(ours.served, rel=1e-5)
    assert ours.regions["slo_attainment"].mean() == pytest.approx(ours.slo_attainment, abs=0.02)
    assert ours.regions["tokens_per_s"].sum() == pytest.approx(ours.tokens_per_s_mean)


def test_attainment_is_no_more_than_the_part_in_time_of_either_promise(
    rehearsed: Rehearsal,
) -> None:
    for outcome in rehearsed.policies.values():
        if not outcome.served:
            continue
        in_time = 0.0
        for name, slo_ms in (("chat", 300.0), ("vision", 60.0)):
            edges, counts = outcome.histograms[f"ttft_ms:{name}"]
            in_time += counts[: int(np.searchsorted(edges, slo_ms)) + 1].sum()
        assert outcome.slo_attainment <= in_time / outcome.requests + 1e-6


def test_aigrid_keeps_its_promises_at_least_as_often_as_its_baselines_beside_the_radio(
    rehearsed: Rehearsal,
) -> None:
    ours = rehearsed.policies["aigrid"].slo_attainment
    for name in ("radio-only", "static-split", "nearest", "round-robin"):
        assert ours >= rehearsed.policies[name].slo_attainment - 1e-3, name


def test_a_service_stays_in_its_regions_and_kinds() -> None:
    kept = small.service("kept", regions=("JP-14",), kinds=("tower",))
    country = small.country(services=(kept,), minutes=10)
    outcome = rehearse(country, ["aigrid"], seed=1).policies["aigrid"]
    assert outcome.regions["tokens_per_s"][0] == 0.0
    assert outcome.regions["tokens_per_s"][1] > 0.0
    assert outcome.refused > 0.0


def test_too_much_demand_is_refused_not_lost() -> None:
    country = small.country(
        services=(small.service(requests_per_customer_day=2e5),), minutes=10, queue_limit=1.0
    )
    outcome = rehearse(country, ["nearest"], seed=1).policies["nearest"]
    assert outcome.refused > 0.1 * outcome.requests
    assert outcome.series["in_line"][-1] > 0.0
    assert outcome.slo_attainment < 0.5


def test_progress_is_heard_by_minute() -> None:
    heard: list[tuple[str, int]] = []
    rehearse(
        small.country(minutes=3), ["radio-only"], 1, lambda policy, m: heard.append((policy, m))
    )
    assert heard == [("radio-only", 1), ("radio-only", 2), ("radio-only", 3)]


def test_what_cannot_be_rehearsed_is_refused() -> None:
    country = small.country(minutes=5)
    with pytest.raises(ConfigurationError, match=r"'best'.*use one of aigrid"):
        rehearse(country, ["best"], 1)
    with pytest.raises(ConfigurationError, match="speed"):
        rehearse(replace(country, dials={"speed": 2.0}), ["aigrid"], 1)
    backwards = replace(country.network, kind=country.network.kind[::-1].copy())
    with pytest.raises(ConfigurationError, match="order of their kind"):
        rehearse(replace(country, network=backwards), ["aigrid"], 1)
