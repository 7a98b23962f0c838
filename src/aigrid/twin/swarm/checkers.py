"""The rules of the swarm. Each looks at the grid after an event and says what does not hold.

A rule answers None where all is well. What it compares with comes from the simulated world (what
sites really hold, serve and refuse), not from what the orchestrator believes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aigrid.core.events import Heartbeat
from aigrid.core.routing import RoutingTable
from aigrid.core.state import NO_VERSION, UP
from aigrid.twin.gateway import ANSWERED, FAILED, OPEN, Request
from aigrid.twin.jobs import JobLine
from aigrid.twin.scenario import SimulatedPackage
from aigrid.twin.site import SimulatedSite
from aigrid.twin.swarm.look import Finding, Look

Check = Callable[[Look], Finding | None]
SLACK = 1e-6


def requests_conserved(look: Look) -> Finding | None:
    """Requests in = ended + in flight, at every moment."""
    world = look.grid.world
    flying = sum(world.gateway.in_flight.values()) + world.gateway.paused
    if len(world.requests) == len(world.ended) + flying:
        return None
    seen = f"{len(world.requests)} in, {len(world.ended)} ended, {flying} in flight"
    return Finding("requests_conserved", "", "in = ended + in flight", seen)


def answered_once(look: Look) -> Finding | None:
    """Each request ends once."""
    for request in look.fresh:
        if request.number in look.memory.ended_seen or request.status == OPEN:
            seen = f"request {request.number} ended as {request.status} again"
            return Finding("answered_once", request.site, "each request ends once", seen)
        look.memory.ended_seen.add(request.number)
    return None


def nothing_hangs(look: Look) -> Finding | None:
    """No request is open for longer than gateways may take; a stream that goes on is no wait.

    Where a site could not go on with an answer, time begins anew: others may, for as long.
    """
    if not look.everywhere:
        return None
    limit_s = _age_limit_s(look)
    for request in look.grid.world.requests[_oldest(look) :]:
        if look.now_s - request.born_s <= limit_s:
            return None
        open_s = look.now_s - max(request.born_s, request.asked_s)
        if request.status == OPEN and not request.stream and open_s > limit_s:
            seen = f"request {request.number} is open for {open_s:.1f} s"
            return Finding("nothing_hangs", "", f"it ends within {limit_s:.1f} s", seen)
    return None


def _age_limit_s(look: Look) -> float:
    physics = look.trial.scenario.physics
    held_s = physics.answer_s + physics.timeout_s + 4.0 * physics.hop_s
    return physics.give_up_s + held_s + physics.retry_s + SLACK


def _oldest(look: Look) -> int:
    """The first request that may be open; streams that last are walked past by others."""
    requests, memory = look.grid.world.requests, look.memory
    while memory.oldest < len(requests) and requests[memory.oldest].status != OPEN:
        memory.oldest += 1
    return memory.oldest


def memory_held(look: Look) -> Finding | None:
    """Replicas that serve or load fit into their site's memory."""
    for site in look.sites:
        used_mb = sum(look.package(digest).memory_mb for digest in site.loaded())
        if used_mb > site.planned.site.memory_mb:
            seen = f"{used_mb} MB in {', '.join(sorted(site.held))}"
            limit = f"{site.planned.site.memory_mb} MB at most"
            return Finding("memory_held", site.name, limit, seen)
    return None


def compute_held(look: Look) -> Finding | None:
    """No site works faster than its compute, on more jobs than places, or lets a longer line be."""
    physics = look.trial.scenario.physics
    for site in look.sites:
        line = site.line
        cores = site.planned.site.compute_cores * site.used_share
        limit_per_s = cores * physics.tokens_per_core_s
        rate = line.rate() if isinstance(line, JobLine) else 0.0
        if rate > limit_per_s + SLACK:
            limit, seen = f"{limit_per_s:.0f} tokens' work a second", f"{rate:.0f}"
        elif len(line.running) > physics.places:
            limit, seen = f"{physics.places} places", f"{len(line.running)} jobs"
        elif len(line.waiting) > physics.queue_limit:
            limit, seen = f"{physics.queue_limit} in line", f"{len(line.waiting)}"
        else:
            continue
        return Finding("compute_held", site.name, f"at most {limit}", seen)
    return None


def radio_first(look: Look) -> Finding | None:
    """AI never takes what the radio is known to need: at the site, and in what it is granted."""
    for site in look.sites:
        if site.radio is None or not site.alive:
            continue
        cores = site.planned.site.compute_cores
        if isinstance(site.line, JobLine):
            used = site.line.speed / look.trial.scenario.physics.tokens_per_core_s
        else:
            used = site.used_share * cores
        if used > SLACK and used + site.radio.need_cores > cores * (1.0 + SLACK):
            return _short("the site takes", site.name, used, site.radio.need_cores, cores)
    return _granted(look)


def _granted(look: Look) -> Finding | None:
    """What the orchestrator grants a site, right after it heard what its radio needs."""
    beat = look.event
    row = look.state.site_row.get(beat.site) if isinstance(beat, Heartbeat) else None
    if not isinstance(beat, Heartbeat) or row is None:
        return None
    sites = look.state.sites
    cores, share = float(sites.compute_cores[row]), float(sites.share[row])
    if not sites.has_radio[row] or share * cores + beat.radio_need_cores <= cores * (1.0 + SLACK):
        return None
    if share <= SLACK:
        return None
    return _short("it is granted", beat.site, share * cores, beat.radio_need_cores, cores)


def _short(who: str, site: str, used: float, need: float, cores: float) -> Finding:
    expected = f"AI and radio within {cores:.2f} cores"
    seen = f"{who} {used:.2f} cores for AI, while the radio needs {need:.2f}"
    return Finding("radio_first", site, expected, seen)


def regions_kept(look: Look) -> Finding | None:
    """Requests are answered, and jobs held, only where the package that serves may run."""
    world = look.grid.world
    for request in look.fresh:
        if request.status == ANSWERED:
            package, site = look.package(request.digest), world.sites[request.site]
            if not may_run(package, site):
                return _outside(package, site, f"answered request {request.number}")
    for site in look.sites:
        for held in site.held.values():
            if held.digest and not may_run(look.package(held.digest), site):
                return _outside(look.package(held.digest), site, "serves it")
    return None


def may_run(package: SimulatedPackage, site: SimulatedSite) -> bool:
    """Whether a package's rules let it run at a site."""
    return not package.regions or site.planned.site.region in package.regions


def _outside(package: SimulatedPackage, site: SimulatedSite, what: str) -> Finding:
    expected = f"{package.reference} in {', '.join(package.regions)} only"
    seen = f"a site in {site.planned.site.region} {what}"
    return Finding("regions_kept", site.name, expected, seen)


def nothing_corrupt_serves(look: Look) -> Finding | None:
    """No replica was loaded from bytes that do not have their digest."""
    for site in look.sites:
        for service, held in site.held.items():
            if held.digest and held.damaged:
                seen = f"{service} serves from damaged bytes"
                return Finding("nothing_corrupt_serves", site.name, "sound packages only", seen)
    return None


def refused_for_cause(look: Look) -> Finding | None:
    """A request is given up only where nobody could take it for as long as trying takes.

    Could take it: a site that the routing table names for its origin (any site, where it names
    none) which all that time was alive, in reach, seen by the control plane and serving, had a
    share and room in its line, and turned nobody away. The time that trying takes: a heartbeat and
    a tick until routes know, and one round over all candidates. A request that a site took and did
    not answer in time was not refused.
    """
    for request in look.fresh:
        if request.status == FAILED and (finding := _wrongly_refused(look, request)):
            return finding
    return None


def trying_s(look: Look) -> float:
    """How long a request may not find a site that would take it, see `refused_for_cause`."""
    physics, policy = look.trial.scenario.physics, look.trial.policy
    known_s = 2.0 * physics.heartbeat_s + physics.tick_s + policy.route_period_s
    each_s = physics.timeout_s + 4.0 * physics.hop_s
    return known_s + policy.candidates * each_s + physics.retry_s


def _wrongly_refused(look: Look, request: Request) -> Finding | None:
    since_s = request.ended_s - trying_s(look)
    if request.held_s > since_s or request.born_s > since_s:
        return None
    if request.service not in look.memory.deployed:
        return None
    named = [
        n for n, _ in look.grid.world.gateway.table.candidates(request.origin, request.service)
    ]
    for site in named or look.grid.world.sites:
        if look.able_since_s(site, request.service) < since_s:
            seen = f"request {request.number} from {request.origin} was given up all the same"
            expected = f"it takes {request.service}, as it could for {trying_s(look):.1f} s"
            return Finding("refused_for_cause", site, expected, seen)
    return None


def routes_are_true(look: Look) -> Finding | None:
    """The table names only sites that are up, serve, have a share, and where the service may run.

    Weights are finite, not negative, and add up to 1, or to 0 where nobody serves.
    """
    table, memory = look.grid.orchestrator.routes, look.memory
    if table is not memory.table:
        memory.table = table
        memory.named = _named(table)
        if finding := _odd_weights(table):
            return finding
    named, state = memory.named, look.state
    sites, services = named.shape
    if not named.any():
        return None
    serving = state.replicas.serving[:sites, :services] != NO_VERSION
    good = (state.sites.status[:sites] == UP) & (state.sites.share[:sites] > 0.0)
    wrong = named & ~(serving & good[:, None])
    if wrong.any() or (look.everywhere and (wrong := _not_allowed(look, table, named)).any()):
        row, column = (int(at) for at in np.argwhere(wrong)[0])
        expected = "up, serving, with a share, and allowed"
        seen = f"the routing table names it for {table.services[column]}, and it is not"
        return Finding("routes_are_true", table.sites[row], expected, seen)
    return None


def _named(table: RoutingTable) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    named = np.zeros((len(table.sites), len(table.services)), np.bool_)
    origin, service, at = np.nonzero(table.weight > 0.0)
    named[table.candidate[origin, service, at], service] = True
    return named


def _odd_weights(table: RoutingTable) -> Finding | None:
    weight = table.weight
    total = weight.sum(axis=2)
    odd = ~np.isfinite(weight).all(axis=2) | (weight < 0.0).any(axis=2)
    odd |= (np.abs(total - 1.0) > 1e-3) & (total != 0.0)
    odd |= ((weight > 0.0) & (table.candidate < 0)).any(axis=2)
    if not odd.any():
        return None
    origin, service = (int(at) for at in np.argwhere(odd)[0])
    seen = f"{weight[origin, service].tolist()} from {table.origins[origin]}"
    return Finding("routes_are_true", "", "weights that add up to 1, or 0", seen)


def _not_allowed(
    look: Look, table: RoutingTable, named: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    wrong = np.zeros_like(named)
    for row, column in np.argwhere(named).tolist():
        package = _routed(look, table, table.services[column])
        site = look.grid.world.sites.get(table.sites[row])
        wrong[row, column] = package is None or site is None or not may_run(package, site)
    return wrong


def _routed(look: Look, table: RoutingTable, service: str) -> SimulatedPackage | None:
    """What requests for a row of the table are answered with."""
    beside = next((track for track in table.tracks if track.beside == service), None)
    return look.package(beside.digest) if beside else look.memory.deployed.get(service)


RULES: tuple[Check, ...] = (
    requests_conserved,
    answered_once,
    nothing_hangs,
    memory_held,
    compute_held,
    radio_first,
    regions_kept,
    nothing_corrupt_serves,
    refused_for_cause,
    routes_are_true,
)
