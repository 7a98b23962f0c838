"""A minute inside the sites: nobody is lost, lines form and end, who sleeps is left alone."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.control.policy import Policy
from aigrid.twin.fluid import serving
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.fluid.mixes import Mixes
from aigrid.twin.fluid.responses import Responses
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.policies import plan_of

COLUMNS = (0, 0)


class Sites(NamedTuple):
    ground: Ground
    standing: serving.Standing
    coming: serving.Coming
    outcome: serving.Outcome

    def minute(self) -> tuple[float, float, float]:
        found: tuple[float, float, float] = serving.serve(
            0, len(self.ground.network), self.standing, self.coming, self.outcome, COLUMNS
        )
        return found


@pytest.fixture(scope="module")
def tabulated() -> tuple[Ground, Responses]:
    # More towers than a block has places.
    country = small.country(network=small.network(towers=700))
    ground = ground_of(country, plan_of("aigrid"), Policy())
    return ground, responses_of(ground)


@pytest.fixture
def sites(tabulated: tuple[Ground, Responses]) -> Sites:
    ground, responses = tabulated
    count = len(ground.network)
    outcome = serving.outcome_of(2, count, *np.zeros((3, count)))
    stays, ready = np.ones((2, count), np.float32), np.ones((2, count), np.float32)
    coming = serving.Coming(np.full(count, 0.5), stays, ready, np.zeros((2, count)))
    tokens = np.array([700.0, 257.0])
    return Sites(
        ground,
        serving.standing_of(ground, responses.turns, Mixes(ground, responses), tokens),
        coming,
        outcome,
    )


def full_rate(sites: Sites, load: float) -> np.ndarray:
    """(S, N) requests a second, half of the work of each service."""
    speed = sites.coming.share * sites.ground.compute
    return 0.5 * load * speed / sites.ground.by_site(sites.ground.work_s).T


@pytest.mark.parametrize("load", [0.01, 0.3, 1.3, 40.0])
def test_who_comes_is_served_or_in_line_or_sent_on(sites: Sites, load: float) -> None:
    arrive, outcome = sites.coming.arrive, sites.outcome
    arrive[:] = full_rate(sites, load)
    for _ in range(4):
        before = outcome.line.copy()
        _, busy, _ = sites.minute()
        after = outcome.served + outcome.line + outcome.over
        assert after == pytest.approx(before + arrive * 60.0, rel=1e-9)
        assert busy <= (sites.coming.share * sites.ground.compute).sum() * (1.0 + 1e-6)
    assert (outcome.over.sum() > 0.0) == bool(outcome.turned.any()) == (load > 1.0)
    assert (outcome.line.sum() > 0.0) == bool(outcome.held.any()) == (load > 1.0)
    work = (outcome.served * sites.ground.by_site(sites.ground.work_s).T).sum(axis=0) / 60.0
    assert np.all(work <= sites.coming.share * sites.ground.compute * (1.0 + 1e-7))


def test_a_line_comes_to_an_end_with_its_service(sites: Sites) -> None:
    sites.coming.arrive[:] = full_rate(sites, 3.0)
    sites.minute()
    held = sites.outcome.line.copy()
    assert np.all(held.sum(axis=0) > 0.0)
    sites.coming.ready[1], sites.coming.arrive[:] = 0.0, 0.0
    sites.minute()
    assert np.array_equal(sites.outcome.over[1], held[1])
    assert np.all(sites.outcome.served[1] == 0.0)


def test_what_a_site_did_does_not_outlive_its_requests(sites: Sites) -> None:
    some = slice(100, 400)
    sites.coming.arrive[:, some] = full_rate(sites, 0.2)[:, some]
    sites.minute()
    assert np.all(sites.outcome.served[:, some] > 0.0)
    assert not sites.outcome.served[:, :100].any()
    sites.coming.arrive[:] = 0.0
    for _ in range(2):
        given, busy, work = sites.minute()
        assert (busy, work) == (0.0, 0.0)
        assert given == pytest.approx((sites.coming.share * sites.ground.compute).sum())
        assert not sites.outcome.served.any()
        assert not sites.outcome.running.any()


def test_a_service_that_loads_misses_who_comes_before(sites: Sites) -> None:
    sites.coming.arrive[:], sites.coming.ready[0] = full_rate(sites, 0.1), 0.25
    sites.minute()
    came = sites.coming.arrive * 60.0
    assert sites.outcome.over[0] == pytest.approx(0.75 * came[0])
    assert not sites.outcome.over[1].any()


def test_parts_add_up_to_the_whole(sites: Sites, tabulated: tuple[Ground, Responses]) -> None:
    sites.coming.arrive[:] = full_rate(sites, 0.7)
    whole = sites.minute()
    count = len(sites.ground.network)
    fresh = sites._replace(outcome=serving.outcome_of(2, count, *np.zeros((3, count))))
    edges = (0, 5, 300, count)
    sums = [
        serving.serve(a, b, fresh.standing, fresh.coming, fresh.outcome, COLUMNS)
        for a, b in pairwise(edges)
    ]
    assert np.sum(sums, axis=0) == pytest.approx(whole, rel=1e-6)
    assert fresh.outcome.served == pytest.approx(sites.outcome.served, rel=1e-6)
