"""Rules about the end of a trial: it recovers, then stands still, and its recording replays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aigrid.core.events import AskToJoin, SiteStatusChanged, StartReplica, StopReplica
from aigrid.twin.replay import replay_lines
from aigrid.twin.scenario import Corruption, SimulatedPackage
from aigrid.twin.site import SimulatedSite
from aigrid.twin.swarm.checkers import Check, may_run
from aigrid.twin.swarm.look import Finding, Look

# So often may a weight swing to and fro while nothing happens.
MOST_TURNS = 10


def recovers(look: Look) -> Finding | None:
    """Within a bound after the last fault, all is as it should be, and stays so.

    Every site that runs and is in reach is seen; it serves each service that is wanted, sound, and
    may stand there, where memory suffices for all of them; where it does not, each stands on some
    site, if there is room for one of each in the grid; every origin that asks for a service has a
    route, as long as any site would take its jobs. How long it may take: `trial.recovery_limit_s`.
    """
    if not look.everywhere or look.now_s < look.trial.healed_s:
        return None
    finding = _unseen(look) or _unplaced(look) or _unrouted(look)
    if finding is None:
        return None
    look.memory.unsettled_s = look.now_s
    return finding if look.now_s > look.trial.settled_by_s else None


def _unseen(look: Look) -> Finding | None:
    for site in look.grid.world.sites.values():
        if site.alive and site.reachable and not look.is_up(site.name):
            return Finding("recovers", site.name, "the control plane sees it", "it is not up")
    return None


def _unplaced(look: Look) -> Finding | None:
    wanted = [p for p in look.memory.deployed.values() if not _damaged(look, p)]
    everyone = list(look.memory.deployed.values())
    living = [s for s in look.grid.world.sites.values() if s.alive and s.reachable]
    placed = set()
    for site in living:
        here = [package for package in wanted if may_run(package, site)]
        all_fit = _all_fit(everyone, site)
        for package in here:
            if _serves(look, site, package):
                placed.add(package.name)
            elif all_fit:
                seen = f"{package.reference} is not served, though all that is wanted fits"
                return Finding("recovers", site.name, "wanted services are served", seen)
    room = _room_for_each(everyone, living)
    for package in wanted:
        if package.name in room and package.name not in placed:
            expected = f"{package.reference} stands somewhere, as it could"
            return Finding("recovers", room[package.name], expected, "no site serves it")
    return None


def _room_for_each(
    packages: Iterable[SimulatedPackage], sites: list[SimulatedSite]
) -> dict[str, str]:
    """A site for each service, none over its memory; empty where this simple search finds none."""
    left = {site.name: site.planned.site.memory_mb for site in sites}
    found: dict[str, str] = {}
    for package in sorted(packages, key=lambda package: -package.memory_mb):
        could = [s.name for s in sites if may_run(package, s) and left[s.name] >= package.memory_mb]
        if not could:
            return {}
        found[package.name] = max(could, key=lambda name: left[name])
        left[found[package.name]] -= package.memory_mb
    return found


def _damaged(look: Look, package: SimulatedPackage) -> bool:
    """Whether its bytes are damaged for good."""
    faults = (f for f in look.trial.scenario.faults if isinstance(f, Corruption))
    return any(f.package == package.reference and f.for_s is None for f in faults)


def _all_fit(packages: Iterable[SimulatedPackage], site: SimulatedSite) -> bool:
    needed_mb = sum(package.memory_mb for package in packages if may_run(package, site))
    return needed_mb <= site.planned.site.memory_mb


def _serves(look: Look, site: SimulatedSite, package: SimulatedPackage) -> bool:
    held = site.held.get(package.name)
    if held is None or not held.digest:
        return False
    return look.package(held.digest).reference == package.reference


def _unrouted(look: Look) -> Finding | None:
    """An origin that asks and has no route, though somebody would take its jobs for a while."""
    table, scenario = look.grid.world.gateway.table, look.trial.scenario
    physics, policy = scenario.physics, look.trial.policy
    since_s = look.now_s - physics.tick_s - policy.route_period_s - 4.0 * physics.hop_s
    for demand in scenario.demand:
        deployed = demand.service in look.memory.deployed
        if not deployed or table.candidates(demand.origin, demand.service):
            continue
        for site in look.grid.world.sites:
            if look.able_since_s(site, demand.service) < since_s:
                seen = f"{demand.service} has no route from {demand.origin}"
                return Finding("recovers", site, "whoever can serve is asked", seen)
    return None


def calm_stands_still(look: Look) -> Finding | None:
    """While nothing happens, nothing is started or stopped, and no weight swings to and fro."""
    if look.now_s <= look.trial.settled_by_s:
        return None
    for command in look.commands:
        if isinstance(command, StartReplica | StopReplica | AskToJoin | SiteStatusChanged):
            return Finding("calm_stands_still", command.site, "no such command", str(command))
    table, swings = look.grid.orchestrator.routes, look.memory.swings
    swings.see(table.weight)
    if swings.turns.size and swings.turns.max() > MOST_TURNS:
        at = np.unravel_index(int(swings.turns.argmax()), swings.turns.shape)
        origin, service, place = (int(index) for index in at)
        site = table.sites[int(table.candidate[origin, service, place])]
        seen = f"its weight for {table.services[service]} from {table.origins[origin]} swings"
        return Finding("calm_stands_still", site, f"at most {MOST_TURNS} turns", seen)
    return None


def replays(lines: list[str]) -> Finding | None:
    """The recording, fed to a fresh orchestrator, gives the same decisions."""
    found = replay_lines(lines, "recording")
    if found.identical:
        return None
    return Finding("replays", "", "the same decisions", found.first_difference)


END_RULES: tuple[Check, ...] = (recovers, calm_stands_still)
