"""A simulated site: it joins, beats, fetches packages, runs jobs and yields to its radio."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aigrid.control import admit
from aigrid.control.handover import PAUSED_PATIENCE_S, Handover
from aigrid.control.orders import OrderBook, SiteOrders
from aigrid.core.events import Heartbeat, ReplicaReport
from aigrid.radio.topology import PlannedSite
from aigrid.twin.jobs import Job, JobLine
from aigrid.twin.radio import SimulatedRadio
from aigrid.twin.rounds import RoundLine
from aigrid.twin.scenario import Physics, SimulatedPackage
from aigrid.twin.simulation import Simulation
from aigrid.twin.uplink import Uplink


@dataclass(slots=True)
class Held:
    """A service on a site; see `core.events.ReplicaReport`.

    `loading` says that `pending` takes memory already, `damaged` that what serves was loaded from
    damaged bytes: no site lets that happen.
    """

    digest: str = ""
    pending: str = ""
    attempt: int = 0
    state: str = "starting"
    error: str = ""
    loading: bool = False
    damaged: bool = False


class ControlPlane(Protocol):
    """What a site says to the control plane; each message names the process that sent it."""

    def join(self, site: str, incarnation: int) -> None:
        """A process introduces itself."""
        ...

    def beat(self, beat: Heartbeat, incarnation: int) -> None:
        """And tells how it does."""
        ...


class SimulatedSite:
    """One site and its process.

    Args:
        planned: what it is.
        physics: how fast things go.
        simulation: the clock.
        book: where its orders stand.
        fetch: the package of a digest, as the store has it now.
        radio: of a tower; None elsewhere.
        uplink: the way of its messages.
        plane: where they go.

    Attributes:
        alive: whether the process runs.
        incarnation: counts starts; what an earlier process began ends nowhere.
        share: that the control plane grants.
        handover: when its answers go on elsewhere.
        hands_over: called then.
        clock: how many times as fast as time its clock runs.
        refused_s: by service, when it last turned a job away.
    """

    def __init__(
        self,
        planned: PlannedSite,
        physics: Physics,
        simulation: Simulation,
        book: OrderBook,
        fetch: Callable[[str], SimulatedPackage],
        radio: SimulatedRadio | None,
        uplink: Uplink,
        plane: ControlPlane,
    ) -> None:
        self.planned, self._physics, self._simulation = planned, physics, simulation
        self._book, self._fetch, self.radio = book, fetch, radio
        self.name = planned.site.name
        self.uplink, self._plane = uplink, plane
        self.alive = self._joined = False
        self._walls, self.clock, self._slow = 0, 1.0, [1.0]
        self.refused_s: dict[str, float] = {}
        self.incarnation = 0
        self.share, self._had_share, self.handover = 0.0, 0.0, Handover()
        self.hands_over: Callable[[], None] = lambda: None
        self.held: dict[str, Held] = {}
        rounds = physics.engines.get(self.name)
        self.line: JobLine | RoundLine = (
            RoundLine(simulation, rounds, physics.places)
            if rounds
            else JobLine(simulation, physics.places, physics.stream_tokens_per_s)
        )
        self._reported: dict[str, tuple[float, int]] = {}
        self._beat_later()

    # -- process -------------------------------------------------------------------------------

    def start(self) -> None:
        """The process starts, unless it runs, and introduces itself; it holds nothing."""
        if self.alive:
            return
        self.incarnation += 1
        self.alive, self._joined = True, False
        self.held, self._reported, self.handover = {}, {}, Handover()
        self.set_share(0.0)
        self._join()

    def crash(self) -> None:
        """The process dies; its jobs die with it."""
        self.alive = False
        self.incarnation += 1
        self._pass_radio_time()
        self.line.clear()

    # -- what befalls it -----------------------------------------------------------------------

    @property
    def reachable(self) -> bool:
        """Whether anything gets through to it and back."""
        return not self._walls

    def fall_out_of_reach(self) -> None:
        """A silence begins; several may last at once."""
        self._walls += 1

    def come_within_reach(self) -> None:
        """A silence ends."""
        self._walls -= 1

    def slow_down(self, factor: float) -> None:
        """Compute and load so many times slower; of several spells the worst counts."""
        self._slow.append(factor)
        self._set_slowness()

    def speed_up(self, factor: float) -> None:
        """Such a spell ends."""
        self._slow.remove(factor)
        self._set_slowness()

    def _set_slowness(self) -> None:
        if isinstance(self.line, JobLine):
            self.line.set_slowness(max(self._slow))

    # -- messages ------------------------------------------------------------------------------

    def _join(self) -> None:
        if self.alive and self.reachable:
            self.uplink.send(partial(self._plane.join, self.name, self.incarnation))

    def _beat_later(self) -> None:
        self._simulation.after(self._physics.heartbeat_s / self.clock, self._beat)

    def _beat(self) -> None:
        if self.alive:
            self.line.look()
            self._yield_to_radio()
            self._hand_over()
            if not self._joined:
                self._join()
            elif self.reachable:
                self.uplink.send(partial(self._plane.beat, self._heartbeat(), self.incarnation))
        self._beat_later()

    def _heartbeat(self) -> Heartbeat:
        radio = self.radio
        reports = tuple(self._report(service, held) for service, held in self.held.items())
        if radio is None:
            return Heartbeat(self.name, replicas=reports)
        return Heartbeat(
            site=self.name,
            radio_load=radio.load(self._simulation.now_s),
            radio_need_cores=radio.need_cores,
            slots_on_time=radio.on_time,
            slots_missed=radio.missed,
            replicas=reports,
        )

    def _report(self, service: str, held: Held) -> ReplicaReport:
        running, waiting = self.line.count(service)
        work, jobs = self.line.done(service)
        work_before, jobs_before = self._reported.get(service, (0.0, 0))
        self._reported[service] = (work, jobs)
        period_s = self._physics.heartbeat_s
        return ReplicaReport(
            service=service,
            digest=held.digest,
            pending=held.pending,
            state=held.state,
            error=held.error,
            running=running,
            waiting=waiting,
            tokens_per_s=(work - work_before) / period_s,
            requests_per_s=(jobs - jobs_before) / period_s,
        )

    # -- orders --------------------------------------------------------------------------------

    def take_orders(self) -> None:
        """Do what the control plane's answer says."""
        if not (self.alive and self.reachable) or self.uplink.loses():
            return
        self._joined = True
        orders = self._book.of(self.name)
        if orders.join:
            orders.join = False
            self._join()
            return
        self.set_share(orders.share)
        self._heed_notice(orders)
        self._take_replicas(orders)

    def _heed_notice(self, orders: SiteOrders) -> None:
        now_s, had_notice = self._simulation.now_s, self.handover.drained_by_s < math.inf
        self.handover.heed_notice(orders.next_share, orders.notice_s, now_s)
        if not had_notice and self.handover.drained_by_s < math.inf:
            self._simulation.after(self.handover.drained_by_s - now_s, self._hand_over)

    def _take_replicas(self, orders: SiteOrders) -> None:
        loaded = {held.digest: held.damaged for held in self.held.values() if held.digest}
        for service in [s for s in self.held if s not in orders.replicas]:
            del self.held[service]
        for service, (digest, attempt) in orders.replicas.items():
            held = self.held.setdefault(service, Held())
            if digest == held.digest:
                held.pending, held.state, held.attempt = "", "ready", attempt
                held.loading = False
            elif digest in loaded:  # for another service, such as `NAME@beside`
                held.digest, held.pending, held.state, held.attempt = digest, "", "ready", attempt
                held.loading, held.damaged = False, loaded[digest]
            elif attempt > held.attempt:
                self._begin(service, held, digest, attempt)

    def _begin(self, service: str, held: Held, digest: str, attempt: int) -> None:
        """Pull a package, verify and load it; what serves goes on serving meanwhile."""
        held.pending, held.attempt, held.state, held.error = digest, attempt, "starting", ""
        held.loading = False
        package, process = self._fetch(digest), self.incarnation

        def goes_on() -> bool:
            known = process == self.incarnation and self.held.get(service) is held
            return known and held.attempt == attempt

        pull_s = package.size_mb / self._physics.link_mb_per_s
        self._work(pull_s, goes_on, lambda: self._pulled(held, package, goes_on))

    def _work(self, for_s: float, goes_on: Callable[[], bool], then: Callable[[], None]) -> None:
        self._simulation.after(for_s * max(self._slow), lambda: then() if goes_on() else None)

    def _pulled(self, held: Held, package: SimulatedPackage, goes_on: Callable[[], bool]) -> None:
        """Verify; load beside what serves, or where memory does not suffice for both, instead."""
        if not self._sound(package):
            held.state, held.error = "failed", f"{package.reference}: bytes do not match the digest"
            return
        if self.used_mb() + package.memory_mb > self.planned.site.memory_mb:
            held.digest = ""
        if self.used_mb() + package.memory_mb > self.planned.site.memory_mb:
            # Another service is being replaced: there is room when it is done.
            wait_s = self._physics.heartbeat_s
            self._work(wait_s, goes_on, lambda: self._pulled(held, package, goes_on))
            return
        held.loading = True
        load_s = package.size_mb / self._physics.load_mb_per_s
        self._work(load_s, goes_on, lambda: self._loaded(held, package))

    def _loaded(self, held: Held, package: SimulatedPackage) -> None:
        held.digest, held.pending, held.state = held.pending, "", "ready"
        held.loading, held.damaged = False, package.corrupt

    def used_mb(self) -> int:
        """Memory of what serves and of what is being loaded."""
        return sum(self._fetch(digest).memory_mb for digest in self.loaded())

    def loaded(self) -> list[str]:
        """Packages in memory, or on their way there; one that serves two services counts once."""
        held = self.held.values()
        serving = dict.fromkeys(one.digest for one in held if one.digest)
        return [*serving, *(one.pending for one in held if one.loading)]

    def _sound(self, package: SimulatedPackage) -> bool:
        """Whether the bytes that were pulled have their digest."""
        return not package.corrupt

    # -- compute -------------------------------------------------------------------------------

    @property
    def used_share(self) -> float:
        """What AI takes: what it is granted, but never what the radio was last seen to need."""
        if self.radio is None:
            return self.share
        left = 1.0 - self.radio.need_cores / self.planned.site.compute_cores
        return min(self.share, max(0.0, left))

    def set_share(self, share: float) -> None:
        """AI may use this fraction of the compute from now on."""
        self._pass_radio_time()
        self.share = share
        self._settle_share()

    def _yield_to_radio(self) -> None:
        """The site's own guard: it needs no control plane to give the radio what it needs."""
        if self.radio is not None:
            self._pass_radio_time()
            self.radio.measure()
            self._settle_share()

    def _settle_share(self) -> None:
        share, now_s = self.used_share, self._simulation.now_s
        if share <= 0.0 < self._had_share:
            self.handover.paused_since_s = now_s
            self._simulation.after(PAUSED_PATIENCE_S, self._hand_over)
        self._had_share = share
        if isinstance(self.line, RoundLine):
            self.line.set_share(self.used_share)
            return
        speed = self.planned.site.compute_cores * self.used_share * self._physics.tokens_per_core_s
        if speed != self.line.speed:
            self.line.set_speed(speed)

    def _hand_over(self) -> None:
        """Jobs go on elsewhere, if it is time for that and anybody hears of it."""
        heard = self.alive and self.reachable
        if heard and self.handover.why(self.used_share, self._simulation.now_s):
            self.hands_over()

    def serving(self, service: str) -> SimulatedPackage | None:
        """The package that serves a service here."""
        held = self.held.get(service)
        return self._fetch(held.digest) if held is not None and held.digest else None

    def offer(self, job: Job) -> str:
        """Take a job, or say why not: `absent`, `paused` or `full`."""
        reason = self._reason(job.service)
        if reason:
            self.refused_s[job.service] = self._simulation.now_s
            return reason
        self._pass_radio_time()
        self.line.add(job)
        return ""

    def _reason(self, service: str) -> str:
        held = self.held.get(service)
        if held is None or not held.digest:
            return "absent"
        running, waiting = len(self.line.running), len(self.line.waiting)
        limit = self._physics.queue_limit
        return admit.admit(running, waiting, limit, self.used_share, self.handover.next_share)

    def takes(self, service: str) -> bool:
        """Whether it would take a job of this service now."""
        return self.alive and self.reachable and not self._reason(service)

    def _pass_radio_time(self) -> None:
        """Count the slots since the last change of what AI uses; call before every change."""
        if self.radio is not None:
            used = self.used_share if self.line.running else 0.0
            self.radio.advance(self._simulation.now_s, used * self.planned.site.compute_cores)
