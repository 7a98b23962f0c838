"""Which candidates of an origin are worth pouring over, service by service."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aigrid.control import pour
from aigrid.control.policy import Policy
from aigrid.twin.fluid.ground import Ground


class Candidates(NamedTuple):
    """Of one service: the columns of `Ground.reach` among which it may stand at all.

    Attributes:
        columns: of `Ground.reach`; all where nearly all are needed.
        reach: (N, C) int32.
        hop_ms: (N, C) float32, one way.
        policy: dials, with the part of the reserve that these columns have of that of all.
    """

    columns: slice
    reach: NDArray[np.int32]
    hop_ms: NDArray[np.float32]
    policy: Policy

    @property
    def are_all(self) -> bool:
        """Whether nothing is left out."""
        return self.columns == slice(None)


def candidates_of(ground: Ground, s: int, policy: Policy) -> Candidates:
    """Of a service: a large one stands on no tower, so that half of the columns are for nothing.

    Columns are left out for all origins alike, where no origin with customers has a candidate in
    them at which the service may stand; and only as many as leave a width that is compiled.
    """
    width = ground.reach.shape[1]
    asks = ground.network.customers > 0.0
    may = np.append(ground.allowed[s], False)[ground.reach[asks]].any(axis=0)
    used = np.flatnonzero(may)
    for narrow in range(1, width):
        if len(used) and pour.is_unrolled(len(asks), narrow) and used[-1] - used[0] < narrow:
            first = min(int(used[0]), width - narrow)
            columns = slice(first, first + narrow)
            less = replace(policy, route_reserve=policy.route_reserve * narrow / width)
            reach, hop_ms = ground.reach[:, columns], ground.hop_ms[:, columns]
            return Candidates(
                columns, np.ascontiguousarray(reach), np.ascontiguousarray(hop_ms), less
            )
    return Candidates(slice(None), ground.reach, ground.hop_ms, policy)
