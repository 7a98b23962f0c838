"""The simulated gateway: the routing table and `control.admit.order`, as the live one uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from aigrid.control import admit
from aigrid.control.asked import Asked
from aigrid.control.handover import RESUMES
from aigrid.control.trial import Tallies, Trial
from aigrid.core.events import SiteUnreachable
from aigrid.core.routing import RoutingTable
from aigrid.twin.jobs import Job
from aigrid.twin.scenario import Physics, SimulatedPackage
from aigrid.twin.simulation import Simulation
from aigrid.twin.site import SimulatedSite

OPEN, ANSWERED, FAILED, BROKEN = "open", "answered", "failed", "broken"
# As live gateways call it.
_STATUS = {ANSWERED: "200", FAILED: "failed", BROKEN: "broken"}


@dataclass(slots=True, eq=False)
class Request:
    """One request and what became of it.

    Attributes:
        number: counts requests from 0.
        service: that is asked for.
        origin: site it comes from, `*` for none.
        prompt_tokens: of the prompt.
        tokens: to make.
        stream: whether tokens go out one by one, so that only its own version can go on with it.
        born_s: when it arrived.
        status: `open`, `answered`, `failed` (nobody took it in time) or `broken` (in mid-stream:
            nobody went on with it in time).
        site: that answered.
        ended_s: when it ended.
        retries: sites tried in vain.
        first_s: when its first token came in; -1 where the site does not say.
        digest: package that it was last given to.
        held_s: when the site that last took it had it no more; -1 where none did.
        trial: its lot, where a new version of the service is on trial.
        made: tokens that the gateway has, of sites that could not go on.
        resumes: times that it was continued elsewhere.
        asked_s: when it last began to look for a site in the middle of its answer.
    """

    number: int
    service: str
    origin: str
    prompt_tokens: int
    tokens: int
    stream: bool
    born_s: float
    status: str = OPEN
    site: str = ""
    ended_s: float = -1.0
    retries: int = 0
    first_s: float = -1.0
    digest: str = ""
    held_s: float = -1.0
    trial: Trial | None = None
    made: int = 0
    resumes: int = 0
    asked_s: float = -1.0


@dataclass(slots=True, eq=False)
class _Attempt:
    """A request at a site: ends once, however many ends reach it.

    `replica` is the service that it is for, or its second version; `seen_work` is what was done of
    it when the gateway last looked whether it goes on; `heard` are the tokens that came through
    before the site fell out of reach, -1 where it did not.
    """

    request: Request
    site: SimulatedSite
    replica: str
    others: list[tuple[str, str]]
    job: Job | None = None
    open: bool = True
    seen_work: float = 0.0
    heard: int = -1

    @property
    def came(self) -> int:
        """Tokens that got through."""
        if self.heard >= 0 or self.job is None:
            return max(self.heard, 0)
        return self.job.made


@dataclass(slots=True)
class SimulatedGateway:
    """Sends each request to the first candidate that answers it.

    Attributes:
        physics: delays and limits.
        simulation: the clock.
        sites: by name.
        on_end: called with each request that ended.
        table: the routing table in force.
        there_s: draws a way to a site; the physics' hop where None.
        back_s: likewise, of an answer's way back.
        lot: draws evenly from 0 to 1: which version a request gets.
        fails: draws whether the engine of a package fails at a request.
        in_flight: requests on their way to, at, or from each site.
        paused: requests that wait for another round.
    """

    physics: Physics
    simulation: Simulation
    sites: Mapping[str, SimulatedSite]
    on_end: Callable[[Request], None]
    table: RoutingTable = field(default_factory=RoutingTable)
    there_s: Callable[[], float] | None = None
    back_s: Callable[[], float] | None = None
    lot: Callable[[], float] = lambda: 1.0
    fails: Callable[[SimulatedPackage], bool] = lambda package: False
    in_flight: dict[str, int] = field(default_factory=dict)
    paused: int = 0
    _asked: Asked = field(default_factory=Asked)
    _tallies: Tallies = field(default_factory=lambda: Tallies("gateway"))
    _suspects: dict[str, float] = field(default_factory=dict)
    _at: dict[str, list[_Attempt]] = field(default_factory=dict)
    _known: dict[tuple[str, str], list[tuple[str, float]]] = field(default_factory=dict)

    def install(self, table: RoutingTable) -> None:
        """Use this routing table from now on."""
        self.table = table
        self._known.clear()

    def submit(self, request: Request) -> None:
        """Take a request in; `on_end` tells how it ended."""
        self._asked.count(request.origin, request.service)
        track = self.table.track(request.service)
        if track and track.share > 0.0 and self._pairs(request.origin, track.beside):
            request.trial = Trial(track, self.lot() < track.share, request.born_s)
        self._round(request)

    def tell_trials(self) -> None:
        """Tell the control plane what was seen of versions on trial, if anything was."""
        for seen in self._tallies.seen(self.table.tracks):
            self.simulation.post(seen)

    def tell_demand(self) -> None:
        """Tell the control plane what was asked for since the last time, if anything was."""
        seen = self._asked.take()
        if seen is not None:
            self.simulation.post(seen)

    def site_died(self, name: str) -> None:
        """Connections to a site break; the gateway knows one hop later."""
        for attempt in self._at.pop(name, []):
            attempt.open = False
            self._later(self.physics.hop_s, attempt, self._broke)

    def site_unreachable(self, name: str) -> None:
        """Nothing of what a site makes gets through from now on; it is noticed after a while."""
        for attempt in self._at.get(name, ()):
            if attempt.job is not None and attempt.heard < 0:
                attempt.site.line.look()
                attempt.heard = attempt.job.made
                self._later(self.physics.timeout_s, attempt, self._silent)

    def site_reachable(self, name: str) -> None:
        """What had to wait gets through."""
        for attempt in self._at.get(name, ()):
            attempt.heard = -1

    def _silent(self, attempt: _Attempt) -> None:
        """Others go on with it; the site does not know, and works on for nobody."""
        if attempt.open and not attempt.site.reachable:
            self._close(attempt)
            self._broke(attempt)

    def site_hands_over(self, name: str) -> None:
        """The radio has a site's compute: its answers go on elsewhere, with what they have."""
        for attempt in list(self._at.get(name, ())):
            if attempt.open and attempt.job is not None:  # another's end may have let go of it
                attempt.site.line.look()
                attempt.site.line.cancel(attempt.job)
                self._close(attempt)
                self._later(self.physics.hop_s, attempt, self._go_on_elsewhere)

    def _round(self, request: Request) -> None:
        self._try(request, self._order(request))

    def _again(self, request: Request) -> None:
        self.paused -= 1
        self._round(request)

    def _order(self, request: Request) -> list[tuple[str, str]]:
        """Sites and what to ask them for: first the new version, where the lot fell so."""
        trial, found = request.trial, self._candidates(request.origin, request.service)
        if trial is not None and trial.new:
            found = self._candidates(request.origin, trial.track.beside) + found
        return found

    def _candidates(self, origin: str, replica: str) -> list[tuple[str, str]]:
        """Candidates, least loaded for their weight first, suspects last."""
        pairs = self._pairs(origin, replica)
        held = [self.in_flight.get(site, 0) for site, _ in pairs]
        order = [pairs[i][0] for i in admit.order([w for _, w in pairs], held)]
        now_s = self.simulation.now_s
        order.sort(key=lambda site: self._suspects.get(site, 0.0) > now_s)
        return [(site, replica) for site in order]

    def _pairs(self, origin: str, replica: str) -> list[tuple[str, float]]:
        key = (origin, replica)
        if key not in self._known:
            self._known[key] = self.table.candidates(*key)
        return self._known[key]

    def _try(self, request: Request, names: list[tuple[str, str]]) -> None:
        if not names or self._too_late(request):
            self._pause(request)
            return
        (name, replica), *others = names
        attempt = _Attempt(request, self.sites[name], replica, others)
        self.in_flight[name] = self.in_flight.get(name, 0) + 1
        there_s = self.there_s() if self.there_s else self.physics.hop_s
        self._later(there_s, attempt, self._arrive)

    def _pause(self, request: Request) -> None:
        """Nobody took it: another round in a moment, unless it has waited for too long."""
        if self._too_late(request):
            self._fail(request, "")
            return
        self.paused += 1
        self.simulation.after(self.physics.retry_s, partial(self._again, request))

    def _too_late(self, request: Request) -> bool:
        since_s = max(request.born_s, request.asked_s)
        return self.simulation.now_s - since_s > self.physics.give_up_s

    def _arrive(self, attempt: _Attempt) -> None:
        site, request = attempt.site, attempt.request
        if not site.reachable:
            self._later(self.physics.timeout_s, attempt, self._broke)
            return
        if not site.alive:
            self._later(self.physics.hop_s, attempt, self._broke)
            return
        package = site.serving(attempt.replica)
        if package is not None and self.fails(package):
            self._later(self.physics.hop_s, attempt, self._failed)
            return
        job = self._job(attempt, package)
        if job is None or site.offer(job):
            self._later(self.physics.hop_s, attempt, self._refused)
            return
        attempt.job, request.digest = job, site.held[attempt.replica].digest
        self._at.setdefault(site.name, []).append(attempt)
        self._later(self.physics.answer_s, attempt, self._look)

    def _job(self, attempt: _Attempt, package: SimulatedPackage | None) -> Job | None:
        """What is left of a request; None where the site has another version than began it.

        An answer in one piece is made anew there.
        """
        request = attempt.request
        if request.made and package is not None and package.digest != request.digest:
            if request.stream:
                return None
            request.made = 0
        cost = package.slowness if package is not None else 1.0
        prompt, tokens = request.prompt_tokens + request.made, max(1, request.tokens - request.made)
        prefill = prompt * self.physics.prefill_factor
        return Job(
            service=attempt.replica,
            first_work=cost * (prefill + 1),
            total_work=cost * (prefill + tokens),
            on_end=partial(self._answered, attempt),
            prompt_tokens=prompt,
            tokens=tokens,
        )

    def _look(self, attempt: _Attempt) -> None:
        """Give up on a site that took too long, unless a stream has moved since the last look."""
        job = attempt.job
        if not attempt.open or job is None:
            return
        attempt.site.line.look()
        moved, attempt.seen_work = job.done_work > attempt.seen_work, job.done_work
        if attempt.request.stream and job.has_begun and moved:
            self._later(self.physics.answer_s, attempt, self._look)
            return
        self._close(attempt)
        attempt.site.line.cancel(job)
        # It answers heartbeats, for all that is known here: whoever takes long is not gone.
        self._give_to_next(attempt)

    def _close(self, attempt: _Attempt) -> None:
        self._at[attempt.site.name].remove(attempt)
        attempt.open = False

    def _answered(self, attempt: _Attempt) -> None:
        if not attempt.open:
            return
        self._close(attempt)
        arrived = attempt.site.reachable
        back_s = self.back_s() if self.back_s else self.physics.hop_s
        self._note_first(attempt, back_s)
        delay_s = back_s if arrived else self.physics.timeout_s
        self._later(delay_s, attempt, self._finish if arrived else self._broke)

    def _note_first(self, attempt: _Attempt, back_s: float) -> None:
        request, job = attempt.request, attempt.job
        if not request.made and job is not None and job.first_s >= 0.0:
            request.first_s = job.first_s + back_s

    def _finish(self, attempt: _Attempt) -> None:
        self._leave(attempt)
        self._end(attempt.request, ANSWERED, attempt.site.name)

    def _failed(self, attempt: _Attempt) -> None:
        """The engine failed: another site may answer."""
        self._note(attempt, failed=True)
        self._refused(attempt)

    def _note(self, attempt: _Attempt, *, failed: bool = False, gone: bool = False) -> None:
        trial, second = attempt.request.trial, attempt.replica != attempt.request.service
        if trial is not None:
            trial.note(second=second, failed=failed, gone=gone)

    def _refused(self, attempt: _Attempt) -> None:
        self._leave(attempt)
        attempt.request.retries += 1
        self._try(attempt.request, attempt.others)

    def _broke(self, attempt: _Attempt) -> None:
        """The site cannot be reached, or left in mid-answer: say so, and try the next."""
        self.simulation.post(SiteUnreachable(attempt.site.name))
        self._note(attempt, gone=True)
        self._give_to_next(attempt)

    def _give_to_next(self, attempt: _Attempt) -> None:
        """The site is tried last for a while."""
        self._suspects[attempt.site.name] = self.simulation.now_s + self.physics.suspect_s
        self._go_on_elsewhere(attempt)

    def _go_on_elsewhere(self, attempt: _Attempt) -> None:
        """With the tokens that came through; only so often for one answer."""
        request = attempt.request
        if came := attempt.came:
            self._note_first(attempt, self.physics.hop_s)
            request.made += came
            request.resumes += 1
            request.asked_s = self.simulation.now_s
        if request.resumes > RESUMES:
            self._leave(attempt)
            self._fail(request, attempt.site.name)
            return
        self._refused(attempt)

    def _leave(self, attempt: _Attempt) -> None:
        self.in_flight[attempt.site.name] -= 1
        if attempt.job is not None:
            attempt.request.held_s = self.simulation.now_s

    def _fail(self, request: Request, site: str) -> None:
        self._end(request, BROKEN if request.stream and request.made else FAILED, site)

    def _end(self, request: Request, status: str, site: str) -> None:
        request.status, request.site = status, site
        request.ended_s = self.simulation.now_s
        if (trial := request.trial) is not None:
            if request.first_s >= 0.0:
                trial.hear(request.digest, request.first_s)
            self._tallies.end(trial, _STATUS[status])
        self.on_end(request)

    def _later(self, delay_s: float, attempt: _Attempt, then: Callable[[_Attempt], None]) -> None:
        self.simulation.after(delay_s, partial(then, attempt))
