"""A small country's day under each policy."""

from __future__ import annotations

import pytest
from tests.twin.fluid import small

from aigrid.twin.fluid import rehearse
from aigrid.twin.fluid.policies import PLANS
from aigrid.twin.outcome import Rehearsal

EVERY = tuple(plan.name for plan in PLANS)


@pytest.fixture(scope="module")
def rehearsed() -> Rehearsal:
    return rehearse(small.country(minutes=60), EVERY, seed=1)


def test_every_request_is_served_refused_or_in_line(rehearsed: Rehearsal) -> None:
    for outcome in rehearsed.policies.values():
        left = outcome.requests - outcome.served - outcome.refused
        assert left == pytest.approx(outcome.series["in_line"][-1], abs=1e-6 * outcome.requests)
