"""A trial from a seed: sites, services, demand, dials and faults, all by chance.

Ranges are wide on purpose: the rules have to hold for grids that nobody would build, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from aigrid.control.policy import Policy
from aigrid.control.rollouts import SETTLE_S
from aigrid.core.rollout import RolloutPlan
from aigrid.core.site import Cell, Site
from aigrid.radio.profile import ConstantLoad
from aigrid.radio.topology import PlannedSite
from aigrid.twin.scenario import Demand, Deployment, Physics, Scenario, SimulatedPackage
from aigrid.twin.swarm.faults import draw_faults
from aigrid.twin.swarm.trial import Trial, calm_s, fault_end_s, recovery_limit_s

MOST_SITES = 40
MOST_REQUESTS_PER_S = 6.0
WARM_S = 8.0
_SWARM, _CANARY = 0x5A11, 0xCA4A
T = TypeVar("T")


class Chance:
    """A generator with the few ways of drawing that are needed here."""

    def __init__(self, seed: int, purpose: int = _SWARM) -> None:
        self.rng = np.random.default_rng(np.random.SeedSequence([seed, purpose]))

    def between(self, low: float, high: float) -> float:
        """Evenly."""
        return round(float(self.rng.uniform(low, high)), 4)

    def scale(self, low: float, high: float) -> float:
        """Evenly by order of magnitude."""
        return round(math.exp(self.rng.uniform(math.log(low), math.log(high))), 4)

    def whole(self, low: int, high: int) -> int:
        """Evenly, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, items: Sequence[T]) -> T:
        """Any of them."""
        return items[self.whole(0, len(items) - 1)]

    def hits(self, probability: float) -> bool:
        """Whether it happens."""
        return bool(self.rng.random() < probability)


def draw(seed: int) -> Trial:
    """The trial of this seed."""
    chance = Chance(seed)
    physics = _physics(chance)
    sites = _sites(chance, physics)
    policy = _policy(chance, physics)
    packages = _packages(chance, sites)
    window_s = chance.scale(10.0, 110.0)
    healed_s = WARM_S + window_s
    deployments = _deployments(chance, packages, window_s)
    packages, deployments = _canaries(seed, packages, deployments)
    demand = _demand(chance, sites, packages, physics)
    faults = draw_faults(chance, sites, packages, demand, (WARM_S, healed_s))
    healed_s = max([WARM_S, *map(fault_end_s, faults), *map(_over_s, deployments)])
    scenario = Scenario(
        name=f"swarm-{seed}",
        sites=sites,
        physics=physics,
        packages=packages,
        deployments=deployments,
        demand=demand,
        faults=faults,
    )
    duration_s = healed_s + recovery_limit_s(scenario, policy) + calm_s(physics)
    scenario = scenario.model_copy(update={"duration_s": duration_s})
    return Trial(seed, scenario, policy, healed_s)


def _physics(chance: Chance) -> Physics:
    between, scale = chance.between, chance.scale
    return Physics(
        heartbeat_s=scale(1.0, 2.5),
        tick_s=scale(0.5, 1.0),
        link_mb_per_s=scale(30.0, 500.0),
        load_mb_per_s=scale(50.0, 500.0),
        tokens_per_core_s=scale(50.0, 500.0),
        stream_tokens_per_s=scale(30.0, 300.0),
        places=chance.whole(1, 16),
        queue_limit=chance.whole(0, 32),
        hop_s=scale(0.0005, 0.02),
        timeout_s=between(0.2, 1.0),
        retry_s=between(0.1, 0.5),
        give_up_s=between(8.0, 20.0),
        suspect_s=between(0.0, 2.0),
        answer_s=between(8.0, 25.0),
        slot_cores=scale(0.005, 0.05),
        prb_cores=scale(0.0005, 0.003),
    )


def _policy(chance: Chance, physics: Physics) -> Policy:
    between = chance.between
    return Policy(
        heartbeat_timeout_s=round(physics.heartbeat_s * between(3.0, 6.0), 4),
        candidates=chance.whole(4, 8),
        route_period_s=between(0.3, 2.0),
        route_damping=between(0.0, 0.8),
        route_change=between(0.01, 0.05),
        guard_margin=between(0.02, 0.2),
        guard_step=between(0.02, 0.1),
        guard_rise_per_s=between(0.1, 0.5),
        demand_memory_s=between(5.0, 20.0),
        place_period_s=between(5.0, 25.0),
        retry_s=between(0.5, 4.0),
        retry_max_s=between(4.0, 15.0),
    )


# -- sites -----------------------------------------------------------------------------------------


def _sites(chance: Chance, physics: Physics) -> tuple[PlannedSite, ...]:
    count = int(chance.scale(1.0, MOST_SITES + 0.99))
    regions = [f"r{n}" for n in range(chance.whole(1, min(4, count)))]
    factories = chance.whole(0, min(2, count // 4))
    hubs = min(count - factories, chance.whole(0 if factories else 1, 1 + count // 6))
    sites: list[PlannedSite] = []
    for number in range(count):
        if number < factories:
            site = _plain(chance, f"factory-{number}", "factory", regions, "", (4.0, 24.0))
        elif number < factories + hubs:
            above = f"factory-{number % factories}" if factories else ""
            site = _plain(chance, f"hub-{number - factories}", "hub", regions, above, (2.0, 12.0))
        else:
            site = _tower(chance, number - factories - hubs, regions, sites, physics)
        sites.append(site)
    return tuple(sites)


def _plain(
    chance: Chance,
    name: str,
    kind: str,
    regions: Sequence[str],
    parent: str,
    cores: tuple[float, float],
) -> PlannedSite:
    return PlannedSite(
        Site(
            name=name,
            kind=kind,
            region=chance.one(regions),
            latitude_deg=chance.between(31.0, 45.0),
            longitude_deg=chance.between(130.0, 145.0),
            compute_cores=chance.scale(*cores),
            memory_mb=int(chance.scale(1000.0, 16000.0)),
            parent=parent,
        )
    )


def _tower(
    chance: Chance,
    number: int,
    regions: Sequence[str],
    above: Sequence[PlannedSite],
    physics: Physics,
) -> PlannedSite:
    """A tower whose computer carries its radio when every cell is full, with some to spare."""
    cells = tuple(
        Cell(
            name=f"c{n}",
            numerology=chance.whole(0, 1),
            resource_blocks=chance.whole(24, 106),
            antennas=chance.one((1, 2, 4)),
        )
        for n in range(chance.whole(1, 3))
    )
    full = sum(
        physics.slot_cores
        + physics.prb_cores * c.resource_blocks * c.antennas * c.layers * (1 << c.numerology)
        for c in cells
    )
    parents = [p.site for p in above if p.site.kind != "tower"]
    hubs = [site for site in parents if site.kind == "hub"] or parents
    parent = chance.one(hubs) if hubs else None
    near = parent.region if parent and chance.hits(0.8) else chance.one(regions)
    site = Site(
        name=f"tower-{number}",
        kind="tower",
        region=near,
        latitude_deg=chance.between(31.0, 45.0),
        longitude_deg=chance.between(130.0, 145.0),
        compute_cores=round(full * chance.between(1.0, 3.0) + 0.1, 4),
        memory_mb=int(chance.scale(500.0, 8000.0)),
        parent=parent.name if parent else "",
        cells=cells,
    )
    load, burst = chance.between(0.0, 0.7), chance.between(0.0, 0.9)
    return PlannedSite(site, ConstantLoad(load=load, burstiness=burst))


# -- services --------------------------------------------------------------------------------------


def _packages(chance: Chance, sites: Sequence[PlannedSite]) -> tuple[SimulatedPackage, ...]:
    """One to four services, some with rules of where they may run, some in two versions."""
    regions = sorted({planned.site.region for planned in sites})
    tight = chance.hits(0.3)
    packages: list[SimulatedPackage] = []
    for number in range(chance.whole(1, 4)):
        ruled = len(regions) > 1 and chance.hits(0.4)
        one = SimulatedPackage(
            name=f"service-{number}",
            version="1",
            size_mb=chance.scale(5.0, 150.0),
            memory_mb=int(chance.scale(100.0, 2500.0 if tight else 400.0)),
            compute_cores=chance.scale(0.5, 4.0),
            regions=tuple(regions[: chance.whole(1, len(regions) - 1)]) if ruled else (),
            ttft_ms=chance.scale(50.0, 2000.0),
        )
        packages.append(one)
        if chance.hits(0.3):
            changes = {"version": "2", "size_mb": chance.scale(5.0, 150.0)}
            packages.append(one.model_copy(update=changes))
    return tuple(packages)


def _deployments(
    chance: Chance, packages: Sequence[SimulatedPackage], window_s: float
) -> tuple[Deployment, ...]:
    """First versions at the start, second ones some time later; now and then a service goes."""
    found = []
    for package in packages:
        at_s = chance.between(0.0, 4.0)
        if package.version != "1":
            at_s = WARM_S + chance.between(0.0, window_s)
        found.append(Deployment(at_s=at_s, deploy=package.reference))
    if len({package.name for package in packages}) > 1 and chance.hits(0.2):
        gone, at_s = packages[0].name, WARM_S + chance.between(0.0, window_s)
        found = [d for d in found if d.at_s < at_s or not d.deploy.startswith(gone)]
        found.append(Deployment(at_s=at_s, undeploy=gone))
    return tuple(sorted(found, key=lambda deployment: deployment.at_s))


def _canaries(
    seed: int, packages: tuple[SimulatedPackage, ...], deployments: tuple[Deployment, ...]
) -> tuple[tuple[SimulatedPackage, ...], tuple[Deployment, ...]]:
    """Half of the second versions are tried on a part of the requests first; half of these fail.

    Drawn apart from all else, so that it moves nothing else.
    """
    chance, bad, found = Chance(seed, _CANARY), set[str](), list[Deployment]()
    for deployment in deployments:
        if deployment.deploy.endswith(":2") and chance.hits(0.5):
            plan = RolloutPlan(
                share=chance.between(0.1, 0.6),
                min_requests=chance.whole(5, 20),
                min_s=chance.between(0.0, 5.0),
                limit_s=chance.between(8.0, 30.0),
                keep_s=chance.between(0.0, 10.0),
            )
            deployment = deployment.model_copy(update={"canary": plan})
            bad |= {deployment.deploy} if chance.hits(0.5) else set()
        found.append(deployment)
    failing = {"fails": 1.0}
    stored = (p.model_copy(update=failing) if p.reference in bad else p for p in packages)
    return tuple(stored), tuple(found)


def _over_s(deployment: Deployment) -> float:
    """When what a deployment sets off is decided, and the losing version has gone."""
    plan = deployment.canary
    return deployment.at_s + (plan.limit_s + plan.keep_s + SETTLE_S if plan else 0.0)


def _demand(
    chance: Chance,
    sites: Sequence[PlannedSite],
    packages: Sequence[SimulatedPackage],
    physics: Physics,
) -> tuple[Demand, ...]:
    """Who asks for what: a part of what the sites where it may run could carry."""
    names = ["*", *(planned.site.name for planned in sites)]
    services = {package.name: package for package in packages}
    found = []
    for name, package in services.items():
        cores = sum(p.site.compute_cores for p in sites if _may(package, p)) / len(services)
        tokens, prompt = int(chance.scale(4.0, 150.0)), int(chance.scale(8.0, 500.0))
        work = tokens + physics.prefill_factor * prompt
        carried_per_s = cores * physics.tokens_per_core_s / work
        part = chance.between(0.02, 0.4)
        rate = min(part * carried_per_s, MOST_REQUESTS_PER_S / len(services))
        origins = [chance.one(names) for _ in range(chance.whole(1, 3))]
        for origin in origins:
            one = Demand(
                service=name,
                origin=origin,
                requests_per_s=max(rate / len(origins), 0.01),
                prompt_tokens=prompt,
                tokens=tokens,
                stream=chance.hits(0.3),
                from_s=chance.between(3.0, WARM_S),
                until_s=86400.0,
            )
            found.append(one)
    return tuple(found)


def _may(package: SimulatedPackage, planned: PlannedSite) -> bool:
    return not package.regions or planned.site.region in package.regions
