"""Many servers solved at once find what each finds alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.twin.models.test_turns import COSTS, SERVICES, works

from aigrid.twin.models import blocks, turns
from aigrid.twin.models.turns import Turns, turns_of

COLUMNS = (0,) * len(SERVICES)


@pytest.fixture(scope="module")
def table() -> Turns:
    return turns_of([COSTS], SERVICES, 2.0)


@pytest.mark.parametrize("most", [0.02, 0.5, 3.0])
def test_a_block_finds_what_each_server_finds_alone(table: Turns, most: float) -> None:
    chance = np.random.default_rng(7)
    speed = chance.uniform(0.05, 8.0, blocks.BLOCK)
    rate = chance.uniform(0.0, most, (len(SERVICES), blocks.BLOCK)) / works()[:, None] * speed
    block = blocks.scratch(table.nodes, table.weights, COLUMNS)
    blocks.of_server(block, blocks.SPEED, COLUMNS)[:] = speed
    for s in range(len(SERVICES)):
        blocks.run(block, s, blocks.RATE)[:] = rate[s]
        blocks.run(block, s, blocks.PREFILL)[:] = table.cost[0, s, turns.PREFILL]
        blocks.run(block, s, blocks.ALONE)[:] = table.cost[0, s, turns.ALONE]
        blocks.run(block, s, blocks.FULL)[:] = table.cost[0, s, turns.FULL]
    blocks.settle(block, blocks.lines_of(table.busy), COLUMNS)
    idle = blocks.of_server(block, blocks.ROOM, COLUMNS) / speed
    for s in range(len(SERVICES)):
        idle = idle * (1.0 - blocks.run(block, s, blocks.BUSY))
    fullest = blocks.of_server(block, blocks.FULLEST, COLUMNS)
    alone = [turns.shared(table, 0, rate[:, at], speed[at]) for at in range(blocks.BLOCK)]
    assert 1.0 - idle == pytest.approx([one.busy for one in alone], abs=0.005)
    assert fullest == pytest.approx([one.fullest for one in alone], rel=0.03, abs=1e-4)
    assert (fullest.max() >= 1.0) == (most > 0.1)


def test_a_service_decodes_all_the_time_at_the_end_of_the_table(table: Turns) -> None:
    lines = blocks.lines_of(table.busy).reshape(len(SERVICES), turns.CELLS + 1, 2)
    at = np.linspace(0.0, turns.CELLS, 500)
    cell = at.astype(np.int64)
    for s, of_service in enumerate(lines):
        found = of_service[cell, 0] + of_service[cell, 1] * at
        expected = np.interp(at, np.arange(turns.CELLS + 1), table.busy[0, s])
        assert found == pytest.approx(expected, abs=1e-4)
        assert found[-1] == 1.0
