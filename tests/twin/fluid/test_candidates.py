"""A service is poured over candidates at which it may stand, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.control import fill, pour
from aigrid.control.policy import Policy
from aigrid.twin.fluid.candidates import candidates_of
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.policies import plan_of

ANYWHERE, ABOVE = 0, 1


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Towers enough for a width of its own, and a service that stands on none of them."""
    large = small.service(kinds=("hub", "factory"))
    network = small.network(towers=pour.MANY)
    country = small.country(network=network, services=(small.service(), large))
    return ground_of(country, plan_of("aigrid"), Policy())


def test_only_a_service_that_stands_on_no_tower_leaves_columns_out(ground: Ground) -> None:
    policy = Policy()
    assert candidates_of(ground, ANYWHERE, policy).are_all
    found = candidates_of(ground, ABOVE, policy)
    assert found.reach.shape == (len(ground.network), pour.HALF)
    towers = ground.has_radio
    left_out = np.delete(ground.reach[towers], np.r_[found.columns], axis=1)
    assert not ground.allowed[ABOVE][left_out].any()
    assert (found.reach == ground.reach[:, found.columns]).all()


def test_weights_are_those_of_all_candidates(ground: Ground) -> None:
    policy, rng = Policy(), np.random.default_rng(0)
    count, own = len(ground.network), candidates_of(ground, ABOVE, policy)
    demand = ground.network.customers * 1e-4
    spare = np.where(ground.allowed[ABOVE], rng.uniform(0.0, 4.0, count), 0.0)
    site_ms = rng.uniform(10.0, 900.0, count)
    whole = fill.waterfill(policy, ground.reach, demand, spare, site_ms, ground.hop_ms, 1000.0)
    narrow = fill.waterfill(own.policy, own.reach, demand, spare, site_ms, own.hop_ms, 1000.0)
    towers = ground.has_radio
    assert (narrow[towers] == whole[towers][:, own.columns]).all()
    assert whole[towers].sum(axis=1) == pytest.approx(1.0)
