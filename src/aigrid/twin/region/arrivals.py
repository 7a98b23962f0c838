"""Who asks when, where and for how much: drawn from the scenario's demand, or as a trace has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Country
from aigrid.twin.region.columns import Arrivals, Floats

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

    @property
    def minutes(self) -> int:
        """Until the last request has come."""
        return int(self.came_s[-1] // MINUTE_S) + 1 if len(self.came_s) else 0


def arrivals_of(
    country: Country, rates: Floats, minute: int, seed: int, played: Played | None
) -> Arrivals:
    """The requests of a minute, in order of time.

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
        expected = expected.copy()
        expected[played.service] = 0.0
    counts = chance.poisson(expected)
    service, origin = (
        np.repeat(i, counts.ravel()) for i in np.indices(counts.shape).reshape(2, -1)
    )
    came_s = MINUTE_S * (minute + chance.random(len(origin)))
    tokens, luck = chance.random((2, len(origin))), chance.random((len(origin), 2))
    prompt, generated = np.zeros(len(origin)), np.zeros(len(origin))
    for s, one in enumerate(country.services):
        mine = service == s
        prompt[mine] = one.prompt_tokens.at(tokens[0, mine])
        generated[mine] = np.maximum(one.generated_tokens.at(tokens[1, mine]), 1.0)
    blocks = np.zeros(0, np.int64)
    first, last = 0, 0
    if played is not None:
        first, last = np.searchsorted(played.came_s, (minute * MINUTE_S, (minute + 1) * MINUTE_S))
        rows = slice(int(first), int(last))
        came_s = np.concatenate((played.came_s[rows], came_s))
        origin = np.concatenate((played.origin[rows], origin))
        service = np.concatenate((np.full(last - first, played.service), service))
        prompt = np.concatenate((played.prompt[rows], prompt))
        generated = np.concatenate((played.generated[rows], generated))
        luck = np.concatenate((chance.random((last - first, 2)), luck))
        blocks = played.blocks
    order = np.argsort(came_s, kind="stable")
    spans = np.zeros((len(order), 2), np.int64)
    if played is not None and len(blocks):
        at = np.arange(first, last)
        spans[: last - first, 0] = played.blocks_from[at]
        spans[: last - first, 1] = played.blocks_from[at + 1]
    return Arrivals(
        came_s[order],
        origin[order].astype(np.int32),
        service[order].astype(np.int8),
        prompt[order],
        generated[order],
        np.ascontiguousarray(luck[order]),
        np.ascontiguousarray(spans[order]),
        blocks,
    )
