from collections.abc import Iterator

import pytest
from tests.contracts.harness import FIRST, SERVICE, Harness, everyone_serves

START_S = 30.0


@pytest.fixture(scope="module", params=["twin", pytest.param("live", marks=pytest.mark.grid)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """One grid for all tests of a module: a real one takes seconds to start."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "twin":
        from tests.contracts.twin_grid import TwinHarness as Chosen
    else:
        from tests.contracts.live_grid import LiveHarness as Chosen
    grid = Chosen(folder)
    yield grid
    grid.close()


@pytest.fixture
def grid(world: Harness) -> Iterator[Harness]:
    """The grid, with every site serving the first version."""
    world.deploy(FIRST)
    assert world.wait_until(lambda: everyone_serves(world), START_S)
    yield world
    if world.routes():
        world.undeploy(SERVICE)
