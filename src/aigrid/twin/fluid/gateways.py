# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""What gateways make of their weights: the best candidate first, the rest when it has enough.

A gateway sends a request to the candidate of the lowest price (`admit.order`), which rises with
what it has open there. So each candidate has seats: the best takes the first at the price of one
request open, and others come in only where that has risen above theirs. Who finds the first n seats
taken goes on to the next; requests of a rate that stay for some time find n taken with Erlang's
loss probability (Erlang B; Kleinrock, "Queueing Systems" I, 1975, 3.6), and what seat n carries is
what seats before it overflow, less what overflows it (Syski, "Introduction to Congestion Theory in
Telephone Systems", 1960, 7: ordered hunting).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.control import admit, compiled
from aigrid.twin.fluid import sites
from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.models.turns import Turns
from aigrid.twin.sources import digest

Floats = NDArray[np.float64]
Weights = list[NDArray[np.float32]]
_OPTIONS = {"nogil": True, "error_model": "numpy"}
# Overflow of a smaller part of an origin's requests is none.
NOTHING = 5e-3
# Seats that are looked at; what overflows them all goes by weight.
SEATS = 64


class Gateways:
    """Where the requests of each origin go.

    Args:
        ground: what stays.
        turns: of the sites.

    Attributes:
        sent: (S, N, K) float32 part of each origin's requests that its gateway sends to each
            candidate; rows sum to 1 or 0.
        only: (S, N) int8 column of the candidate that gets all of them; -1 where several do.
    """

    def __init__(self, ground: Ground, turns: Turns) -> None:
        self._ground, self._turns = ground, turns
        services = len(ground.country.services)
        self.sent: Weights = [np.zeros(ground.reach.shape, np.float32) for _ in range(services)]
        self.only = np.full((services, len(ground.network)), -1, np.int8)
        self._hold_s = np.zeros((services, len(ground.network)))

    def hold(
        self,
        given: Floats,
        arrive: Floats,
        running: NDArray[np.float32],
        ready: NDArray[np.float32],
        rows: slice,
    ) -> None:
        """See how long requests are open at the sites of `rows`, before weights are followed.

        Args:
            given: (N,) of compute that AI has.
            arrive: (S, N) requests a second at each site, as seen last.
            running: (S, N) part of the time that each service decodes there.
            ready: (S, N) above 0 where it is loaded.
            rows: contiguous.
        """
        sites.hold(
            rows.start,
            rows.stop,
            given,
            self._ground.compute,
            self._ground.type_of,
            TOGETHER,
            arrive,
            self._turns.cost,
            self._turns.stay,
            running,
            ready,
            self._hold_s,
            (0,) * len(arrive),
        )

    def follow(self, s: int, weight: NDArray[np.float32], expected: Floats) -> None:
        """Take a service's new (N, K) weights in; expected is (N,) requests a second."""
        send(
            self._ground.reach,
            weight,
            expected,
            self._hold_s[s],
            self._ground.hop_ms,
            self.sent[s],
            self.only[s],
            (0,) * self._ground.reach.shape[1],
        )


def _compiled(code: str) -> Any:
    @njit(cache=True, **_OPTIONS)
    def send(reach, weight, rate, hold_s, hop_ms, sent, only, columns):
        """Part of each origin's requests that goes to each candidate; returns `code`.

        Args:
            reach: (N, K) candidates.
            weight: (N, K) of one service; a row sums to 1 or 0.
            rate: (N,) requests a second.
            hold_s: (N,) that a request is open at a site.
            hop_ms: (N, K) one way.
            sent: (N, K) float32, as it was before; to change where that is different now.
            only: (N,) column that gets all, likewise; -1 where several get some, or nobody.
            columns: K values, any: a tuple's length is known when this is compiled.
        """
        open_, price = np.zeros(len(columns), np.int64), np.zeros(len(columns))
        none: Any = np.float32(0.0)
        for row in range(len(rate)):
            # With nothing open yet, the greater weight has the lower price.
            best, largest, second = 0, none, none
            for at in range(len(columns)):
                one = weight[row, at]
                second = max(second, min(one, largest))
                best = at if one > largest else best
                largest = max(largest, one)
            if not largest > none:
                sent[row], only[row] = none, -1
                continue
            next_price = admit.price(second, 0) if second > none else np.inf
            hold = hold_s[reach[row, best]] + hop_ms[row, best] * 1e-3
            offered = rate[row] * hold
            # Part of the requests that find so many seats of the best one taken.
            late, taken = 1.0, 0
            while late > NOTHING and admit.price(largest, taken) < next_price:
                taken += 1
                late = offered * late / (taken + offered * late)
            if late <= NOTHING:
                if only[row] != best:
                    sent[row] = none
                    sent[row, best], only[row] = 1.0, best
                continue
            sent[row], only[row] = none, -1
            sent[row, best] = 1.0 - late
            for k in range(len(columns)):
                open_[k] = taken if k == best else 0
                one = weight[row, k]
                price[k] = admit.price(one, open_[k]) if one > none else np.inf
            for _ in range(SEATS):
                at, lowest = 0, price[0]
                for k in range(1, len(columns)):
                    at = k if price[k] < lowest else at
                    lowest = min(lowest, price[k])
                open_[at] += 1
                price[at] = admit.price(weight[row, at], open_[at])
                taken += 1
                before = late
                late = offered * late / (taken + offered * late)
                sent[row, at] += before - late
                if late <= NOTHING:
                    break
            if late <= NOTHING:
                sent[row, best] += late
            else:
                for k in range(len(columns)):
                    sent[row, k] += late * weight[row, k]
        return code

    return send


# As in `region.events`: it is `control`'s present code that runs, not what was compiled before.
send = _compiled(digest(admit, compiled))
