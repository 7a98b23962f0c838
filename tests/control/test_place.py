import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.control import grids

from aigrid.control import place
from aigrid.control.orchestrator import Orchestrator
from aigrid.core.events import ServiceDeployed, SiteJoined
from aigrid.core.state import UP


@given(st.lists(grids.sites, max_size=8), st.lists(grids.deployments, max_size=6))
def test_placement_keeps_within_memory_and_region(sites, deployments):
    orchestrator = Orchestrator()
    for event in [*map(SiteJoined, sites), *deployments]:
        orchestrator.handle(0.0, event)
    state = orchestrator.state
    chosen = place.wanted(state)
    memory = chosen @ state.services.memory_mb[: state.service_count]
    assert np.all(memory <= state.sites.memory_mb[: state.site_count])
    for row, column in np.argwhere(chosen).tolist():
        allowed = state.services.regions[column]
        assert state.sites.status[row] == UP
        assert not allowed or state.sites.region[row] in allowed


def test_a_service_stands_on_every_site_that_may_have_it():
    orchestrator = Orchestrator()
    for name, region in (("f", "north"), ("h", "south"), ("t1", "north")):
        orchestrator.handle(0.0, SiteJoined(grids.site(name, region=region)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100, regions=("north",)))
    assert place.wanted(orchestrator.state)[:, 0].tolist() == [True, False, True]


def test_where_memory_is_short_the_older_service_stays():
    orchestrator = Orchestrator()
    orchestrator.handle(0.0, SiteJoined(grids.site("h", memory_mb=150)))
    orchestrator.handle(0.0, ServiceDeployed("chat", "sha256:1", 100))
    orchestrator.handle(0.0, ServiceDeployed("embed", "sha256:2", 100))
    assert place.wanted(orchestrator.state).tolist() == [[True, False]]
