"""A simulated site: it joins, beats, fetches packages, runs jobs and yields to its radio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aigrid.control import admit
from aigrid.control.orders import OrderBook, SiteOrders
from aigrid.core.events import Heartbeat, ReplicaReport, SiteJoined
from aigrid.radio.topology import PlannedSite
from aigrid.twin.jobs import Job, JobLine
from aigrid.twin.radio import SimulatedRadio
from aigrid.twin.rounds import RoundLine
from aigrid.twin.scenario import Physics, SimulatedPackage
from aigrid.twin.simulation import Simulation


@dataclass(slots=True)
class Held:
    """A service on a site; see `core.events.ReplicaReport`."""

    digest: str = ""
    pending: str = ""
    attempt: int = 0
    state: str = "starting"
    error: str = ""


class SimulatedSite:
    """One site and its process.

    Args:
        planned: what it is.
        physics: how fast things go.
        simulation: the clock.
        book: where its orders stand.
        fetch: the package of a digest, as the store has it now.
        radio: of a tower; None elsewhere.

    Attributes:
        alive: whether the process runs.
        reachable: whether anything gets through to it and back.
        incarnation: counts starts; what an earlier process began ends nowhere.
    """

    def __init__(
        self,
        planned: PlannedSite,
        physics: Physics,
        simulation: Simulation,
        book: OrderBook,
        fetch: Callable[[str], SimulatedPackage],
        radio: SimulatedRadio | None,
    ) -> None:
        self.planned, self._physics, self._simulation = planned, physics, simulation
        self._book, self._fetch, self.radio = book, fetch, radio
        self.name = planned.site.name
        self.alive, self.reachable = False, True
        self._joined = False
        self.incarnation = 0
        self.share, self.next_share = 0.0, 1.0
        self.held: dict[str, Held] = {}
        rounds = physics.engines.get(self.name)
        self.line: JobLine | RoundLine = (
            RoundLine(simulation, rounds, physics.places)
            if rounds
            else JobLine(simulation, physics.places, physics.stream_tokens_per_s)
        )
        self._reported: dict[str, tuple[float, int]] = {}
        simulation.every(physics.heartbeat_s, self._beat)

    # -- process -------------------------------------------------------------------------------

    def start(self) -> None:
        """The process starts, unless it runs, and introduces itself; it holds nothing."""
        if self.alive:
            return
        self.incarnation += 1
        self.alive, self._joined = True, False
        self.held, self._reported = {}, {}
        self.set_share(0.0)
        self._join()

    def crash(self) -> None:
        """The process dies; its jobs die with it."""
        self.alive = False
        self.incarnation += 1
        self._pass_radio_time()
        self.line.clear()

    def come_within_reach(self) -> None:
        """A silence ends."""
        self.reachable = True

    def _join(self) -> None:
        if self.alive and self.reachable:
            self._joined = True
            self._book.clear(self.name)
            self._simulation.post(SiteJoined(self.planned.site))

    def _beat(self) -> None:
        if self.alive:
            self._pass_radio_time()
            self.line.look()
        if not self._joined:
            self._join()
        elif self.alive and self.reachable:
            self._simulation.post(self._heartbeat())

    def _heartbeat(self) -> Heartbeat:
        radio = self.radio
        reports = tuple(self._report(service, held) for service, held in self.held.items())
        if radio is None:
            return Heartbeat(self.name, replicas=reports)
        return Heartbeat(
            site=self.name,
            radio_load=radio.load(self._simulation.now_s),
            radio_need_cores=radio.measure(),
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
        if not (self.alive and self.reachable):
            return
        orders = self._book.of(self.name)
        if orders.join:
            orders.join = False
            self._join()
            return
        self.set_share(orders.share)
        self.next_share = orders.next_share
        self._take_replicas(orders)

    def _take_replicas(self, orders: SiteOrders) -> None:
        for service in [s for s in self.held if s not in orders.replicas]:
            del self.held[service]
        for service, (digest, attempt) in orders.replicas.items():
            held = self.held.setdefault(service, Held())
            if digest == held.digest:
                held.pending, held.state, held.attempt = "", "ready", attempt
            elif attempt > held.attempt:
                self._begin(service, held, digest, attempt)

    def _begin(self, service: str, held: Held, digest: str, attempt: int) -> None:
        """Pull a package, verify and load it; what serves goes on serving meanwhile."""
        held.pending, held.attempt, held.state, held.error = digest, attempt, "starting", ""
        package, process = self._fetch(digest), self.incarnation
        pull_s = package.size_mb / self._physics.link_mb_per_s
        load_s = 0.0 if package.corrupt else package.size_mb / self._physics.load_mb_per_s

        def finish() -> None:
            if process == self.incarnation and self.held.get(service) is held:
                self._finish(held, attempt, package)

        self._simulation.after(pull_s + load_s, finish)

    def _finish(self, held: Held, attempt: int, package: SimulatedPackage) -> None:
        if held.attempt != attempt:
            return
        if package.corrupt:
            held.state, held.error = "failed", f"{package.reference}: bytes do not match the digest"
            return
        held.digest, held.pending, held.state = held.pending, "", "ready"

    # -- compute -------------------------------------------------------------------------------

    def set_share(self, share: float) -> None:
        """AI may use this fraction of the compute from now on."""
        self._pass_radio_time()
        self.share = share
        if isinstance(self.line, RoundLine):
            self.line.set_share(share)
            return
        cores = self.planned.site.compute_cores * share
        self.line.set_speed(cores * self._physics.tokens_per_core_s)

    def offer(self, job: Job) -> str:
        """Take a job, or say why not: `absent`, `paused` or `full`."""
        held = self.held.get(job.service)
        if held is None or not held.digest:
            return "absent"
        running, waiting = len(self.line.running), len(self.line.waiting)
        limit = self._physics.queue_limit
        reason = admit.admit(running, waiting, limit, self.share, self.next_share)
        if not reason:
            self._pass_radio_time()
            self.line.add(job)
        return reason

    def _pass_radio_time(self) -> None:
        """Count the slots since the last change of what AI uses; call before every change."""
        if self.radio is not None:
            used = self.share if self.line.running else 0.0
            self.radio.advance(self._simulation.now_s, used * self.planned.site.compute_cores)
