"""What the checkers see after an event, and what they remember from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aigrid.core.events import (
    Command,
    Event,
    Heartbeat,
    RolloutMoved,
    ServiceDeployed,
    ServiceUndeployed,
    SiteJoined,
)
from aigrid.core.routing import RoutingTable
from aigrid.core.state import UP, GridState
from aigrid.twin.gateway import Request
from aigrid.twin.grid import TwinGrid
from aigrid.twin.scenario import SimulatedPackage
from aigrid.twin.site import SimulatedSite
from aigrid.twin.swarm.swings import Swings
from aigrid.twin.swarm.trial import Trial


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold.

    Attributes:
        rule: its name.
        site: where; empty where it is about the whole grid.
        expected: what should be.
        seen: what is.
    """

    rule: str
    site: str
    expected: str
    seen: str


@dataclass(slots=True)
class Memory:
    """What lasts from look to look.

    Attributes:
        deployed: packages wanted now, by service.
        ended: requests that have been looked at when they ended.
        ended_seen: their numbers.
        able_since_s: since when a site would have taken jobs of a service, at every look.
        oldest: number of the first request that may be open.
        table: the routing table that was last looked at.
        named: (sites, services) whether it names them.
        unsettled_s: when the grid was last not as it should be.
        swings: how weights move while nothing happens.
    """

    deployed: dict[str, SimulatedPackage] = field(default_factory=dict)
    ended: int = 0
    ended_seen: set[int] = field(default_factory=set)
    able_since_s: dict[tuple[str, str], float] = field(default_factory=dict)
    table: RoutingTable | None = None
    named: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    oldest: int = 0
    unsettled_s: float = 0.0
    swings: Swings = field(default_factory=Swings)


@dataclass(slots=True)
class Look:
    """The grid right after an event.

    Attributes:
        trial: what is being tried.
        grid: that it is tried on.
        memory: of looks before.
        event: that was handled.
        commands: that were decided.
        fresh: requests that ended since the last look.
        sites: to look at: whose event it was; all of them at a tick.
        everywhere: whether `sites` are all.
    """

    trial: Trial
    grid: TwinGrid
    memory: Memory
    event: Event | None = None
    commands: Sequence[Command] = ()
    fresh: Sequence[Request] = ()
    sites: Sequence[SimulatedSite] = ()
    everywhere: bool = False

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self.grid.now_s

    @property
    def state(self) -> GridState:
        """What the orchestrator believes."""
        return self.grid.orchestrator.state

    def package(self, digest: str) -> SimulatedPackage:
        """The package of a digest."""
        return self.grid.world.package_of(digest)

    def is_up(self, site: str) -> bool:
        """Whether the control plane sees it."""
        row = self.state.site_row.get(site)
        return row is not None and bool(self.state.sites.status[row] == UP)

    def take(self, event: Event, commands: Sequence[Command]) -> None:
        """Move on to the next event."""
        self.event, self.commands = event, commands
        world, memory = self.grid.world, self.memory
        self.fresh = world.ended[memory.ended :]
        memory.ended = len(world.ended)
        name = _site_of(event)
        self.everywhere = name is None
        self.sites = list(world.sites.values()) if name is None else [world.sites[name]]
        if isinstance(event, ServiceDeployed):
            memory.deployed[event.service] = self.package(event.digest)
        elif isinstance(event, ServiceUndeployed):
            memory.deployed.pop(event.service, None)
        for moved in commands:
            if isinstance(moved, RolloutMoved) and moved.phase == "promoted":
                memory.deployed[moved.service] = world.wanted[moved.service]
        self._note_able()

    def _note_able(self) -> None:
        since = self.memory.able_since_s
        for site in self.sites:
            for service in self.memory.deployed:
                key = site.name, service
                if site.takes(service) and self.is_up(site.name):
                    since.setdefault(key, self.now_s)
                else:
                    since.pop(key, None)

    def able_since_s(self, site: str, service: str) -> float:
        """Since when a site would take jobs without having turned one away; infinity if not now."""
        since_s = self.memory.able_since_s.get((site, service), float("inf"))
        return max(since_s, self.grid.world.sites[site].refused_s.get(service, 0.0))


def _site_of(event: Event) -> str | None:
    if isinstance(event, Heartbeat):
        return event.site
    if isinstance(event, SiteJoined):
        return event.site.name
    return None
