"""Load of a cell: how many resource blocks are scheduled in each slot.

Two time-scales. Over seconds to hours the mean utilisation follows a profile. Within it, slots are
nearly empty or nearly full: a two-state Markov process whose mean is the profile's utilisation.
Averages over minutes do not show this mixture, so `burstiness` and `correlation` are parameters to
vary, not facts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

# Hour of day and share of the daily peak. The shapes (evening peak at home, working hours in
# offices, two rush hours in transport) are those of Wang et al., "Understanding Mobile Traffic
# Patterns of Large Scale Cellular Towers in Urban Environment", IMC 2015, section 4; the numbers
# are rounded by hand.
DAILY_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "home": ((0, 0.55), (2, 0.25), (5, 0.12), (8, 0.35), (12, 0.5), (18, 0.7), (21.5, 1.0)),
    "office": ((0, 0.1), (5, 0.06), (8, 0.45), (10.5, 1.0), (13, 0.8), (15.5, 0.95), (19, 0.35)),
    "transport": ((0, 0.12), (4, 0.04), (8, 1.0), (11, 0.4), (16, 0.5), (18, 0.95), (21, 0.35)),
}
_BLOCK = 1024


class _Burst(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    burstiness: Fraction = 0.8
    correlation: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)] = 0.5


class ConstantLoad(_Burst):
    """The same mean utilisation for ever.

    Attributes:
        load: mean PRB utilisation, 0 to 1.
        burstiness: 0 gives every slot the mean, 1 gives empty and full slots only.
        correlation: of the state of consecutive slots; 0 draws each slot anew.
    """

    kind: Literal["constant"] = "constant"
    load: Fraction = 0.3

    def utilisation_at(self, t_s: float) -> float:
        """Mean utilisation at a time since start."""
        return self.load


class StepLoad(_Burst):
    """Mean utilisation that jumps: (start second, load) in order; the first holds before it too."""

    kind: Literal["steps"] = "steps"
    steps: Annotated[tuple[tuple[float, Fraction], ...], Field(min_length=1, max_length=1000)]

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        times = [t for t, _ in steps]
        if any(not a < b for a, b in pairwise(times)):
            raise ValueError("steps must come in order of time, each later than the one before")
        return steps

    def utilisation_at(self, t_s: float) -> float:
        """Mean utilisation at a time since start."""
        index = bisect_right(self.steps, t_s, key=lambda step: step[0])
        return self.steps[max(index - 1, 0)][1]


class DailyLoad(_Burst):
    """A day's shape, lasting `day_s` real seconds.

    Attributes:
        shape: where the cell stands.
        day_s: length of the day; 86400 is real time.
        start_h: hour of day at second 0.
        peak: utilisation at the busiest hour.
    """

    kind: Literal["daily"]
    shape: Literal["home", "office", "transport"] = "home"
    day_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 600.0
    start_h: Annotated[float, Field(ge=0.0, lt=24.0)] = 0.0
    peak: Fraction = 0.9

    def utilisation_at(self, t_s: float) -> float:
        """Mean utilisation at a time since start, between the shape's hours in a straight line."""
        hours, shares = zip(*DAILY_SHAPES[self.shape], strict=True)
        hour = (self.start_h + 24.0 * t_s / self.day_s) % 24.0
        return self.peak * float(np.interp(hour, hours, shares, period=24.0))


LoadProfile = Annotated[ConstantLoad | StepLoad | DailyLoad, Field(discriminator="kind")]


def next_busy(busy: bool, load: float, correlation: float, chance: float) -> bool:
    """Step of the two-state chain with P(busy) = load and lag-one correlation `correlation`.

    Args:
        busy: state of the slot before.
        load: mean utilisation now.
        correlation: 0 to below 1.
        chance: uniform in [0, 1).
    """
    return chance < (1.0 - correlation) * load + (correlation if busy else 0.0)


def scheduled_prbs(busy: bool, load: float, burstiness: float, total: int, chance: float) -> int:
    """Resource blocks of a slot; their mean over both states is load * total.

    A busy slot is filled to load + burstiness * (1 - load), an idle one to load * (1 - burstiness);
    fractions of a block are rounded up or down by chance.

    Args:
        busy: the slot's state.
        load: mean utilisation now.
        burstiness: 0 to 1.
        total: resource blocks of the cell.
        chance: uniform in [0, 1).
    """
    filled = load + burstiness * (1.0 - load) if busy else load * (1.0 - burstiness)
    return min(int(filled * total + chance), total)


def schedule(
    burstiness: float, correlation: float, total: int, rng: np.random.Generator
) -> Generator[int, float, None]:
    """Generator of scheduled PRBs: `send(load)` gives the next slot's; the first `next` primes it.

    Chance is drawn in blocks: one draw a slot would cost more than the rest of the step.
    """
    busy = False
    load = yield 0
    while True:
        for chance, dither in rng.random((_BLOCK, 2)).tolist():
            busy = next_busy(busy, load, correlation, chance)
            load = yield scheduled_prbs(busy, load, burstiness, total, dither)
