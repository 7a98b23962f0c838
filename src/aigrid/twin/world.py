"""The simulated world: what `control.world.drive` drives in the twin."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial

import numpy as np

from aigrid.control.asked import DEMAND_PERIOD_S
from aigrid.control.orders import OrderBook
from aigrid.control.trial import TELL_PERIOD_S
from aigrid.control.world import Timed
from aigrid.core.errors import ConflictError, NotFoundError
from aigrid.core.events import (
    Command,
    Event,
    Heartbeat,
    PublishRoutes,
    RolloutMoved,
    RolloutStarted,
    ServiceDeployed,
    ServiceUndeployed,
    SiteJoined,
    Tick,
)
from aigrid.core.rollout import RolloutPlan
from aigrid.twin.gateway import Request, SimulatedGateway
from aigrid.twin.radio import SimulatedRadio
from aigrid.twin.scenario import (
    BeatLoss,
    Burst,
    Corruption,
    Crash,
    CutOff,
    Demand,
    Deployment,
    Fault,
    Scenario,
    Silence,
    SimulatedPackage,
    Skew,
    Slow,
    Surge,
)
from aigrid.twin.simulation import Simulation
from aigrid.twin.site import SimulatedSite
from aigrid.twin.uplink import Uplink

SiteFault = Crash | Surge | Silence | CutOff | BeatLoss | Skew | Slow


class TwinWorld:
    """A grid of simulated sites, one gateway and a store.

    Args:
        scenario: what there is and what happens.
        seed: of chance; the same scenario and seed give the same events, byte for byte.

    Attributes:
        until_s: `next_event` returns None once simulated time is here.
        requests: every request so far.
        ended: those that ended, in the order they did.
        wanted: packages that are deployed, by service.
        rollouts: what became of versions on trial, in order.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.simulation, self.until_s = scenario, Simulation(), 0.0
        self.packages = {package.reference: package for package in scenario.packages}
        self._references = {package.digest: package.reference for package in scenario.packages}
        self.requests: list[Request] = []
        self.ended: list[Request] = []
        self.wanted: dict[str, SimulatedPackage] = {}
        self.rollouts: list[RolloutMoved] = []
        self._book = OrderBook()
        self._handled: Event | None = None
        # One stream of chance for demand and one for each radio: more of one moves no other.
        demand, *radios = np.random.SeedSequence(seed).spawn(1 + len(scenario.sites))
        self._rng, self._seed = np.random.default_rng(demand), seed
        self._engine_chance = self._chance_of("engines")
        self._rollouts = 0
        self._incarnations: dict[str, int] = {}
        self.sites = {
            planned.site.name: SimulatedSite(
                planned,
                scenario.physics,
                self.simulation,
                self._book,
                self.package_of,
                SimulatedRadio(planned, scenario.physics, np.random.default_rng(radio))
                if planned.profile
                else None,
                Uplink(self.simulation, self._chance_of("uplink", planned.site.name)),
                self,
            )
            for planned, radio in zip(scenario.sites, radios, strict=True)
        }
        self.gateway = SimulatedGateway(
            scenario.physics,
            self.simulation,
            self.sites,
            self.ended.append,
            lot=self._chance_of("lot").random,
            fails=self._fails,
        )
        for name, site in self.sites.items():
            site.hands_over = partial(self.gateway.site_hands_over, name)
        self._begin()

    def _begin(self) -> None:
        simulation = self.simulation
        simulation.every(self.scenario.physics.tick_s, lambda: simulation.post(Tick()))
        simulation.every(DEMAND_PERIOD_S, self.gateway.tell_demand)
        simulation.every(TELL_PERIOD_S, self.gateway.tell_trials)
        for site in self.sites.values():
            simulation.after(0.0, site.start)
        for deployment in self.scenario.deployments:
            simulation.after(deployment.at_s, partial(self._carry, deployment))
        for fault in self.scenario.faults:
            simulation.after(fault.at_s, partial(self.inject, fault))
        for demand in self.scenario.demand:
            simulation.after(demand.from_s, partial(self._next_arrival, demand, self._rng))

    def _chance_of(self, *names: str) -> np.random.Generator:
        """Chance of something by name: whatever else there is moves it not."""
        key = zlib.crc32("\n".join(names).encode())
        return np.random.default_rng(np.random.SeedSequence([self._seed, key]))

    # -- twin.site.ControlPlane ----------------------------------------------------------------

    def join(self, site: str, incarnation: int) -> None:
        """A process introduces itself: nothing was asked of it yet."""
        self._incarnations[site] = incarnation
        self._book.clear(site)
        self.simulation.post(SiteJoined(self.sites[site].planned.site))

    def beat(self, beat: Heartbeat, incarnation: int) -> None:
        """A heartbeat arrives; one of another process than the one that joined says nothing."""
        if self._incarnations.get(beat.site) == incarnation:
            self.simulation.post(beat)
            return
        self._book.of(beat.site).join = True
        self._answer(beat.site)

    def _answer(self, site: str) -> None:
        self.simulation.after(self.scenario.physics.hop_s, self.sites[site].take_orders)

    # -- control.world.World -------------------------------------------------------------------

    def next_event(self) -> Timed | None:
        """Let simulated time run to the next event for the control plane."""
        simulation = self.simulation
        while not simulation.outbox:
            if not simulation.step(self.until_s):
                return None
        self._handled = simulation.outbox.popleft()
        return Timed(simulation.now_s, self._handled)

    def carry_out(self, now_s: float, commands: Sequence[Command]) -> None:
        """Write orders down; answer the site whose event this was; send routes to the gateway."""
        self._book.write(commands)
        hop_s = self.scenario.physics.hop_s
        if isinstance(self._handled, SiteJoined):
            self._answer(self._handled.site.name)
        elif isinstance(self._handled, Heartbeat):
            self._answer(self._handled.site)
        for command in commands:
            if isinstance(command, PublishRoutes):
                self.simulation.after(hop_s, partial(self.gateway.install, command.table))
            elif isinstance(command, RolloutMoved):
                self._move(command)

    def _move(self, moved: RolloutMoved) -> None:
        """A version that was promoted is the one that is deployed."""
        self.rollouts.append(moved)
        if moved.phase == "promoted" and not moved.retired:
            package = self._package(moved.rollout.partition("#")[0])
            self.wanted[package.name] = package

    # -- what people and faults do -------------------------------------------------------------

    def deploy(self, reference: str) -> None:
        """Want a package served.

        Raises:
            NotFoundError: the store has no such package.
        """
        package = self._package(reference)
        self.wanted[package.name] = package
        self.simulation.post(
            ServiceDeployed(
                service=package.name,
                digest=package.digest,
                memory_mb=package.memory_mb,
                compute_cores=package.compute_cores,
                regions=package.regions,
                ttft_ms=package.ttft_ms,
            )
        )

    def roll_out(self, reference: str, plan: RolloutPlan) -> None:
        """Try a version of a deployed service on a part of its requests.

        Raises:
            NotFoundError: the store has no such package.
        """
        new, old = self._package(reference), self.wanted.get(self._package(reference).name)
        self._rollouts += 1
        self.simulation.post(
            RolloutStarted(
                service=new.name,
                rollout=f"{reference}#{self._rollouts}",
                digest=new.digest,
                memory_mb=new.memory_mb,
                compute_cores=new.compute_cores,
                regions=new.regions,
                ttft_ms=new.ttft_ms,
                plan=plan,
                new_card=new.card,
                old_card=old.card if old is not None else -1.0,
            )
        )

    def undeploy(self, service: str) -> None:
        """Want a service no longer."""
        self.wanted.pop(service, None)
        self.simulation.post(ServiceUndeployed(service))

    def publish(self, package: SimulatedPackage) -> None:
        """Put a package in the store.

        Raises:
            ConflictError: its reference is taken.
        """
        if package.reference in self.packages:
            raise ConflictError(f"package {package.reference} is in the store already")
        self.packages[package.reference] = package
        self._references[package.digest] = package.reference

    def request(self, demand: Demand) -> Request:
        """One request of this kind, now."""
        request = Request(
            number=len(self.requests),
            service=demand.service,
            origin=demand.origin,
            prompt_tokens=demand.prompt_tokens,
            tokens=demand.tokens,
            stream=demand.stream,
            born_s=self.simulation.now_s,
        )
        self.requests.append(request)
        self.gateway.submit(request)
        return request

    def inject(self, fault: Fault) -> None:
        """Let something go wrong, now."""
        if isinstance(fault, Corruption):
            self._corrupt(fault)
        elif isinstance(fault, Burst):
            self._burst(fault)
        else:
            self._befall(self.site(fault.site), fault)

    def _befall(self, site: SimulatedSite, fault: SiteFault) -> None:
        if isinstance(fault, Crash):
            self._crash(site, fault.back_after_s)
        elif isinstance(fault, Surge):
            self._surge(site, fault)
        elif isinstance(fault, Slow):
            site.slow_down(fault.factor)
            self.simulation.after(fault.for_s, partial(site.speed_up, fault.factor))
        elif isinstance(fault, BeatLoss):
            site.uplink.begin(fault)
            self.simulation.after(fault.for_s, partial(site.uplink.end, fault))
        elif isinstance(fault, Skew):
            self._skew(site, fault)
        else:
            for one in self._below(site) if isinstance(fault, CutOff) else [site]:
                one.fall_out_of_reach()
                self.gateway.site_unreachable(one.name)
                self.simulation.after(fault.for_s, partial(self._reach_again, one))

    def _reach_again(self, site: SimulatedSite) -> None:
        site.come_within_reach()
        if site.reachable:
            self.gateway.site_reachable(site.name)

    def site(self, name: str) -> SimulatedSite:
        """A site by name.

        Raises:
            NotFoundError: there is none.
        """
        if name not in self.sites:
            raise NotFoundError(
                f"site {name!r} is not in this grid",
                next_step=f"sites: {', '.join(list(self.sites)[:20])}",
            )
        return self.sites[name]

    def _crash(self, site: SimulatedSite, back_after_s: float | None) -> None:
        if not site.alive:
            return
        site.crash()
        self.gateway.site_died(site.name)
        if back_after_s is not None:
            self.simulation.after(back_after_s, site.start)

    def _below(self, site: SimulatedSite) -> list[SimulatedSite]:
        """A site and all whose way up leads over it."""
        found = [site]
        for one in found:
            found += [s for s in self.sites.values() if s.planned.site.parent == one.name]
        return found

    def _skew(self, site: SimulatedSite, fault: Skew) -> None:
        def tick_right() -> None:
            site.clock /= fault.rate

        site.clock *= fault.rate
        self.simulation.after(fault.for_s, tick_right)

    def _corrupt(self, fault: Corruption) -> None:
        def damage(corrupt: bool) -> None:
            package = self._package(fault.package)
            self.packages[fault.package] = package.model_copy(update={"corrupt": corrupt})

        damage(True)
        if fault.for_s is not None:
            self.simulation.after(fault.for_s, partial(damage, False))

    def _burst(self, fault: Burst) -> None:
        now_s = self.simulation.now_s
        demand = Demand(
            **fault.model_dump(exclude={"kind", "at_s", "for_s"}),
            from_s=now_s,
            until_s=now_s + fault.for_s,
        )
        self._next_arrival(demand, self._chance_of("burst", fault.model_dump_json()))

    def _surge(self, site: SimulatedSite, fault: Surge) -> None:
        if site.radio is None:
            raise NotFoundError(f"site {fault.site!r} has no radio", next_step="name a tower")
        site.radio.force(fault.load, self.simulation.now_s + fault.for_s)

    # -- parts ---------------------------------------------------------------------------------

    def _fails(self, package: SimulatedPackage) -> bool:
        return package.fails > 0.0 and bool(self._engine_chance.random() < package.fails)

    def _carry(self, deployment: Deployment) -> None:
        if deployment.canary is not None:
            self.roll_out(deployment.deploy, deployment.canary)
        elif deployment.deploy:
            self.deploy(deployment.deploy)
        else:
            self.undeploy(deployment.undeploy)

    def _next_arrival(self, demand: Demand, rng: np.random.Generator) -> None:
        """Plan the next request of a Poisson process."""
        delay_s = float(rng.exponential(1.0 / demand.requests_per_s))

        def arrive() -> None:
            if self.simulation.now_s <= demand.until_s:
                self.request(demand)
                self._next_arrival(demand, rng)

        self.simulation.after(delay_s, arrive)

    def _package(self, reference: str) -> SimulatedPackage:
        if reference not in self.packages:
            raise NotFoundError(
                f"package {reference!r} is not in the store",
                next_step=f"packages: {', '.join(sorted(self.packages)) or 'none'}",
            )
        return self.packages[reference]

    def package_of(self, digest: str) -> SimulatedPackage:
        """The package of a digest, as the store has it now."""
        return self.packages[self._references[digest]]
