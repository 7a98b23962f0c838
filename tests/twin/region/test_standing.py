"""What a region begins with."""

from __future__ import annotations

import numpy as np
from tests.twin.fluid import small

from aigrid.twin.fluid.ground import ground_of
from aigrid.twin.fluid.rehearsal import policy_of
from aigrid.twin.policies import plan_of
from aigrid.twin.region.columns import NONE
from aigrid.twin.region.standing import SESSIONS, sessions_before


def test_sessions_of_the_day_before_were_routed_by_the_first_weights() -> None:
    country = small.country()
    ground = ground_of(country, plan_of("aigrid"), policy_of(country))
    weight = np.zeros(ground.reach.shape, np.float32)
    tower = int(np.flatnonzero((ground.reach >= 0).sum(axis=1) > 1)[0])
    weight[tower, :2] = 0.75, 0.25
    served = sessions_before(ground, weight)
    assert served.shape == (len(ground.reach), SESSIONS)
    first, second = ground.reach[tower, :2]
    assert (served[tower] == first).sum() == 0.75 * SESSIONS
    assert (served[tower] == second).sum() == 0.25 * SESSIONS
    assert (np.delete(served, tower, axis=0) == NONE).all()
