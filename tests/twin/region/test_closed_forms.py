"""The engine, with costs chosen so, is a queue whose mean times are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.twin.region import one

REQUESTS = 250_000
# Far below every other time: where a cost must not be 0, but should not count.
NEARLY_NOTHING_S = 1e-9


def arrivals(rate: float, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    chance = np.random.default_rng(seed)
    return np.cumsum(chance.exponential(1.0 / rate, REQUESTS)), chance


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_prefills_one_at_a_time_are_an_m_m_1_queue(load: float) -> None:
    came_s, chance = arrivals(load, 1)
    prompt = chance.exponential(1.0, REQUESTS)
    cost = (0.0, 1.0, NEARLY_NOTHING_S, 0.0)
    found = one.served(came_s, prompt, np.ones(REQUESTS), cost, places=1)
    # Kleinrock, "Queueing Systems" I, 3.2: T = 1 / (mu - lambda).
    assert found["first_s"].mean() == pytest.approx(1.0 / (1.0 - load), rel=0.02)
    assert len(found) == REQUESTS


def test_a_first_token_waits_for_all_prefills_that_come_before_it_is_made() -> None:
    load = 0.5
    came_s, chance = arrivals(load, 1)
    prompt = chance.exponential(1.0, REQUESTS)
    cost = (0.0, 1.0, NEARLY_NOTHING_S, 0.0)
    found = one.served(came_s, prompt, np.ones(REQUESTS), cost, places=100_000)
    # Those that a departing request leaves behind each begin a busy period of 1 / (1 - rho).
    assert found["first_s"].mean() == pytest.approx(1.0 / (1.0 - load) ** 2, rel=0.02)


@pytest.mark.parametrize(("servers", "load"), [(4, 0.7), (16, 0.8)])
def test_places_with_steps_of_one_length_are_an_m_m_c_queue(servers: int, load: float) -> None:
    rate = servers * load
    came_s, chance = arrivals(rate, 2)
    generated = np.maximum(1e4 * chance.exponential(1.0, REQUESTS), 1.0)
    cost = (0.0, 0.0, 1e-4, 0.0)
    found = one.served(came_s, np.ones(REQUESTS), generated, cost, places=servers)
    # Erlang C: Kleinrock, I, 3.5.
    terms = [rate**n / math.factorial(n) for n in range(servers)]
    tail = rate**servers / math.factorial(servers) / (1.0 - load)
    waits = tail / (sum(terms) + tail)
    assert found["last_s"].mean() == pytest.approx(waits / (servers - rate) + 1.0, rel=0.02)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_steps_that_grow_with_the_batch_are_processor_sharing(spread: float) -> None:
    load = 0.7
    came_s, chance = arrivals(load, 3)
    sizes = np.exp(spread * chance.standard_normal(REQUESTS) - 0.5 * spread * spread)
    cost = (0.0, 0.0, 0.0, 1e-4)
    found = one.served(
        came_s, np.ones(REQUESTS), np.maximum(1e4 * sizes, 1.0), cost, places=100_000
    )
    # Kleinrock, II, 4.4: T = E[S] / (1 - rho), whatever the distribution of sizes.
    assert found["last_s"].mean() == pytest.approx(1.0 / (1.0 - load), rel=0.02)


def test_a_full_line_refuses_and_loses_nobody() -> None:
    came_s = np.arange(1.0, 11.0) * 1e-6
    found = one.served(came_s, np.ones(10), np.full(10, 5.0), (0.1, 0.0, 0.1, 0.0), 2, limit=3)
    assert len(found) == 10
    assert (found["site"] >= 0).sum() == 5
    assert np.isnan(found["first_s"][found["site"] < 0]).all()
