"""Who asks when, where and for how much: drawn from the scenario's demand, or as a trace has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.region.columns import ARRIVAL, Floats, Records

Chance = np.random.Generator
MINUTE_S = 60.0
# Streams of chance, beside those of `fluid.chance`.
DRAWN, ORIGINS = 101, 102


@dataclass(frozen=True, slots=True)
class Played:
    """A trace as it is played in a region.

    Attributes:
        service: row of the service that its requests ask for.
        came_s: (R,) when they come.
        origin: (R,) at which site's gateway.
        prompt: (R,) tokens.
        generated: (R,) tokens.
        blocks_from: (R + 1,) where the hashes of each prompt begin in `blocks`.
        blocks: hashes, none where the trace has none.
        block_tokens: of a block.
    """

    service: int
    came_s: Floats
    origin: NDArray[np.int32]
    prompt: Floats
    generated: Floats
    blocks_from: NDArray[np.int64]
    blocks: NDArray[np.int64]
    block_tokens: float = 512.0

    def note(self, country: Country) -> str:
        """How the trace was played, for a reader of the figures."""
        name, rest = country.services[self.service].name, len(country.services) - 1
        came = int(np.searchsorted(self.came_s, country.minutes * MINUTE_S))
        told = (
            f"{came:,} of the trace's {len(self.came_s):,} requests come in these minutes, each "
            f"once, at the pace of the demand for {name}"
        )
        return f"{told}; those of other services are drawn." if rest else f"{told}."

    @property
    def minutes(self) -> int:
        """Until the last request has come."""
        return int(self.came_s[-1] // MINUTE_S) + 1 if len(self.came_s) else 0


def arrivals_of(
    country: Country, rates: Floats, minute: int, seed: int, played: Played | None
) -> Records:
    """The requests of a minute, in order of time: (A,) `ARRIVAL`.

    Args:
        country: its services.
        rates: (S, N) requests a second in this minute.
        minute: of the run.
        seed: of chance.
        played: in place of what one service would be asked for.
    """
    chance = np.random.default_rng(np.random.SeedSequence((seed, DRAWN, minute)))
    expected = rates * MINUTE_S
    if played is not None:
        expected[played.service] = 0.0
    found = _drawn(country, expected, minute, chance)
    if played is not None:
        found = np.concatenate((_of_trace(played, minute), found))
    found["chance"], found["luck"] = chance.random((2, len(found)))
    return found[np.argsort(found["came_s"], kind="stable")]


def _drawn(country: Country, expected: Floats, minute: int, chance: Chance) -> Records:
    """Poisson many of each service and origin, anywhere in the minute."""
    counts = chance.poisson(expected)
    service, origin = np.indices(counts.shape).reshape(2, -1)
    found = np.zeros(int(counts.sum()), ARRIVAL)
    found["service"] = np.repeat(service, counts.ravel())
    found["origin"] = np.repeat(origin, counts.ravel())
    found["came_s"] = MINUTE_S * (minute + chance.random(len(found)))
    prompt, generated = chance.random((2, len(found)))
    for s, one in enumerate(country.services):
        mine = found["service"] == s
        found["prompt"][mine] = one.prompt_tokens.at(prompt[mine])
        found["generated"][mine] = np.maximum(one.generated_tokens.at(generated[mine]), 1.0)
    return found


def _of_trace(played: Played, minute: int) -> Records:
    """Those of the trace that come in the minute."""
    edges = np.array((minute, minute + 1)) * MINUTE_S
    first, last = np.searchsorted(played.came_s, edges).tolist()
    found = np.zeros(last - first, ARRIVAL)
    for name in ("came_s", "origin", "prompt", "generated"):
        found[name] = getattr(played, name)[first:last]
    found["service"] = played.service
    found["block_from"] = played.blocks_from[first:last]
    found["block_to"] = played.blocks_from[first + 1 : last + 1]
    return found
