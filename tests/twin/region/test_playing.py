"""A trace played in a region: every request once, at the region's pace, sessions together."""

from __future__ import annotations

import numpy as np
import pytest
from tests.twin.fluid import small
from tests.twin.region.test_rehearsal import city

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.traces import Trace
from aigrid.twin.region import playing
from aigrid.twin.region.rehearsal import rehearse


def trace(requests: int = 3000, prompts: list[list[int]] | None = None) -> Trace:
    """An hour with a burst in its middle; with blocks where `prompts` gives their ids."""
    chance = np.random.default_rng(8)
    burst = 1800.0 + 60.0 * chance.random(requests // 3)
    at_s = np.sort(np.concatenate((3600.0 * chance.random(requests - len(burst)), burst)))
    blocks = prompts or [[] for _ in range(requests)]
    return Trace(
        origin="made.csv",
        sha256="",
        at_s=at_s - at_s[0],
        prompt_tokens=np.full(requests, 2048),
        output_tokens=np.full(requests, 20),
        block_start=np.concatenate(([0], np.cumsum([len(ids) for ids in blocks]))),
        block_id=np.array([id_ for ids in blocks for id_ in ids], np.int64),
        block_tokens=512 if prompts else 0,
        start_s=0.0,
    )


def test_each_request_comes_once_at_the_pace_of_the_demand() -> None:
    country, made = city(), trace()
    played = playing.played(country, made, 0, seed=1)
    assert len(played.came_s) == len(made)
    assert np.all(np.diff(played.came_s) >= 0.0)
    wanted = country.services[0].requests_per_customer_day * country.network.customers.sum()
    pace = len(made) / played.came_s[-1] * 86_400.0
    assert pace == pytest.approx(wanted, rel=0.7)  # the night asks for less than the mean
    again = playing.played(country, made, 0, seed=1)
    assert np.array_equal(played.origin, again.origin)
    assert not np.array_equal(played.origin, playing.played(country, made, 0, seed=2).origin)
    # A third of all requests still come within a sixtieth of the time, or little more.
    middle = np.searchsorted(made.at_s, (1800.0, 1860.0))
    span = np.ptp(played.came_s[middle[0] : middle[1]])
    assert span < 0.05 * played.came_s[-1]


def test_a_rate_is_requests_a_second_over_the_day() -> None:
    country = playing.adapted(city(), trace(), 0, rate=5.0)
    asked = country.services[0].requests_per_customer_day * country.network.customers.sum()
    assert asked / 86_400.0 == pytest.approx(5.0)
    assert country.services[0].prompt_tokens.mean == pytest.approx(2048.0)
    assert country.services[1] == city().services[1]


def test_origins_are_drawn_by_customers() -> None:
    country = city()
    played = playing.played(country, trace(20_000), 0, seed=3)
    seen = np.bincount(played.origin, minlength=len(country.network)) / 20_000
    part = country.network.customers / country.network.customers.sum()
    assert np.abs(seen - part).max() < 0.01


def test_a_conversation_stays_with_its_origin_and_finds_its_prefix() -> None:
    # 500 conversations of six turns; each turn has all blocks before it, and a system prompt first.
    turns = [
        [0, *(1 + 10 * talk + depth for depth in range(turn + 1))]
        for turn in range(6)
        for talk in range(500)
    ]
    made = trace(3000, turns)
    first = playing.sessions(made)
    assert np.array_equal(first.reshape(6, 500), np.tile(np.arange(500), (6, 1)))
    warm = rehearsed(made)
    cold = rehearsed(trace(3000, [[10_000 * (row + 1)] * 4 for row in range(3000)]))
    assert warm < 0.7 * cold


def rehearsed(made: Trace) -> float:
    """Median TTFT of the trace's requests."""
    country = playing.adapted(city(minutes=5), made, 0, rate=50.0)
    played = playing.played(country, made, 0, seed=1)
    found = rehearse(country, ["nearest"], 0, played=played, requests_from="made.csv")
    assert found.requests_from == "made.csv"
    assert any("of the trace's 3,000 requests" in n for n in found.policies["nearest"].notes)
    return found.tails["nearest"].services["chat"]["ttft_ms_p50"]


def test_unknown_services_and_nobody_asking_are_told() -> None:
    with pytest.raises(ConfigurationError, match="'chatt'") as refused:
        playing.service_row(small.country(), "chatt")
    assert "chat, vision" in str(refused.value.next_step)
    quiet = small.country(services=(small.service(requests_per_customer_day=0.0),))
    with pytest.raises(ConfigurationError, match="nobody"):
        playing.played(quiet, trace(), 0, seed=1)
