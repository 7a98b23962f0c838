"""Rollouts under way: what they do to the grid's state, driven by events through the orchestrator.

The second version of a service is a service of its own, `NAME@beside`, to placement and routes: at
first the new version, by lot for a share of the requests. When it is promoted the two change
places: sites that hold both load nothing, and the old one stands beside until its answers have
ended. So does a new version that was rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aigrid.control import rollout
from aigrid.core.events import (
    Command,
    RolloutMoved,
    RolloutStarted,
    RolloutSteered,
    StopReplica,
    VersionsSeen,
)
from aigrid.core.rollout import RolloutPlan, VersionCounts, beside
from aigrid.core.routing import Track
from aigrid.core.state import NO_VERSION, UP, Beside, BoolColumn, GridState

GATEWAYS_LIMIT = 1024  # heard in one rollout; of more, nothing is counted
# Gateways know of a new table by then, and sites have said what runs.
SETTLE_S = 5.0
RolloutEvent = RolloutStarted | RolloutSteered | VersionsSeen


@dataclass(slots=True)
class Rollout:
    """One of them.

    Attributes:
        service: deployed.
        rollout: its name.
        plan: its dials.
        old_digest: deployed when it began.
        new_digest: on trial.
        new_card: see `core.events.RolloutStarted`.
        old_card: likewise.
        began_s: on the clock of the events.
        watched_since_s: when a site first served the new version, once it is not `loading`.
        ended_s: when it was decided, if it was.
        phase: one of `core.rollout.PHASES`.
        reason: of it.
        deaths: see `rollout.Seen`.
        told: what each gateway said last.
    """

    service: str
    rollout: str
    plan: RolloutPlan
    old_digest: str
    new_digest: str
    new_card: float
    old_card: float
    began_s: float
    watched_since_s: float = 0.0
    ended_s: float = 0.0
    phase: str = "loading"
    reason: str = "no site serves it yet"
    deaths: int = 0
    told: tuple[VersionsSeen, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it was decided."""
        return self.phase in ("promoted", "rolled_back")

    def counts(self) -> tuple[VersionCounts, VersionCounts]:
        """Of the new and the old version, all gateways together."""
        new = old = VersionCounts()
        for told in self.told:
            new, old = new + told.new, old + told.old
        return new, old


class Rollouts:
    """All that are under way, at most one a service.

    Attributes:
        moved: placement and routes are to be made anew.
    """

    def __init__(self) -> None:
        self._of: dict[str, Rollout] = {}
        self.moved = False

    def all(self) -> list[Rollout]:
        """Every one, in the order they began."""
        return list(self._of.values())

    def get(self, service: str) -> Rollout | None:
        """That of a service."""
        return self._of.get(service)

    def take_up(self, one: Rollout) -> None:
        """Go on with one of a snapshot."""
        self._of[one.service] = one

    def tracks(self) -> tuple[Track, ...]:
        """For the routing table."""
        return tuple(_track(one) for one in self._of.values())

    # -- events --------------------------------------------------------------------------------

    def handle(self, state: GridState, now_s: float, event: RolloutEvent) -> Iterator[Command]:
        """What to do about an event that is about rollouts alone."""
        if isinstance(event, RolloutStarted):
            yield from self._start(state, now_s, event)
        elif isinstance(event, RolloutSteered):
            yield from self._steer(state, now_s, event)
        else:
            self._note(event)

    def _start(self, state: GridState, now_s: float, event: RolloutStarted) -> Iterator[Command]:
        """Begin one, in the place of another of the same service."""
        known = self._of.get(event.service)
        if known is not None and known.rollout == event.rollout:
            return
        yield from self.drop(state, event.service, "another rollout began")
        column = state.service_row.get(event.service)
        if column is None or not state.services.wanted[column]:
            yield _refused(event, "the service is not deployed")
            return
        digests, version = state.services.digests[column], int(state.services.version[column])
        if digests[version] == event.digest:
            yield _refused(event, "this version is deployed already")
            return
        one = Rollout(
            event.service,
            event.rollout,
            event.plan,
            digests[version],
            event.digest,
            event.new_card,
            event.old_card,
            now_s - event.age_s,
        )
        self._of[event.service] = one
        _put_beside(state, column, event)
        self.moved = True
        yield _moved(one, "loading", one.reason)

    def _note(self, seen: VersionsSeen) -> None:
        """Keep what a gateway saw; late counts of an older rollout say nothing."""
        one = self._of.get(seen.service)
        if one is None or one.rollout != seen.rollout or one.ended:
            return
        others = tuple(told for told in one.told if told.gateway != seen.gateway)
        if len(others) < GATEWAYS_LIMIT:
            one.told = (*others, seen)

    def _steer(self, state: GridState, now_s: float, event: RolloutSteered) -> Iterator[Command]:
        """End one by hand."""
        one = self._of.get(event.service)
        if one is not None and not one.ended:
            yield from self._end(state, now_s, one, event.verdict, "by hand")

    def drop(
        self, state: GridState, service: str, reason: str, digest: str = ""
    ) -> Iterator[Command]:
        """Something else is wanted of the service: end its rollout, and keep nothing of it.

        Unless that is the very version (`digest`) that was promoted.
        """
        one = self._of.get(service)
        if one is not None and not (one.phase == "promoted" and one.new_digest == digest):
            if not one.ended:
                one.phase = "rolled_back"
            yield self._retire(state, one, reason)

    def site_began_anew(self, state: GridState, row: int) -> None:
        """A site joins: where it served a version on trial, it died with it."""
        for one in self._of.values():
            column = state.service_row[beside(one.service)]
            served = state.replicas.serving[row, column] == state.services.version[column]
            one.deaths += bool(served and not one.ended)

    def look(self, state: GridState, now_s: float) -> Iterator[Command]:
        """Time has passed: decide what can be decided, let go of what has ended."""
        for one in self.all():
            column = state.service_row[beside(one.service)]
            if one.ended:
                if _may_retire(state, one, column, now_s):
                    yield self._retire(state, one, "its last answers have ended")
                continue
            if one.phase == "loading" and _serving(state, column).any():
                one.watched_since_s = now_s
                yield _moved(one, "watching", "the first site serves it")
            decision = rollout.decide(one.plan, _seen(state, one, column, now_s))
            if decision.verdict:
                yield from self._end(state, now_s, one, decision.verdict, decision.reason)

    def seen(self, state: GridState, one: Rollout, now_s: float) -> rollout.Seen:
        """What is known of one, for people."""
        return _seen(state, one, state.service_row[beside(one.service)], now_s)

    # -- endings -------------------------------------------------------------------------------

    def _end(
        self, state: GridState, now_s: float, one: Rollout, verdict: str, reason: str
    ) -> Iterator[Command]:
        one.ended_s, self.moved = now_s, True
        column = state.service_row[one.service]
        other = state.service_row[beside(one.service)]
        state.beside[other] = Beside(column, 0.0)
        if verdict == "promote":
            yield from _change_places(state, one, column, other)
        yield _moved(one, "promoted" if verdict == "promote" else "rolled_back", reason)

    def _retire(self, state: GridState, one: Rollout, reason: str) -> Command:
        del self._of[one.service]
        self.moved = True
        state.services.wanted[state.service_row[beside(one.service)]] = False
        return RolloutMoved(one.service, one.rollout, one.phase, reason, retired=True)


def _track(one: Rollout) -> Track:
    stands = one.old_digest if one.phase == "promoted" else one.new_digest
    share = 0.0 if one.ended else one.plan.share
    return Track(one.service, beside(one.service), one.rollout, stands, share)


def _moved(one: Rollout, phase: str, reason: str) -> Command:
    one.phase, one.reason = phase, reason
    return RolloutMoved(one.service, one.rollout, phase, reason)


def _refused(event: RolloutStarted, reason: str) -> Command:
    return RolloutMoved(event.service, event.rollout, "rolled_back", reason, retired=True)


def _put_beside(state: GridState, column: int, event: RolloutStarted) -> None:
    """Have the new version wanted beside the old one."""
    other, services = state.put_service(beside(event.service)), state.services
    services.version[other] = _version(state, other, event.digest)
    services.wanted[other] = True
    services.memory_mb[other] = event.memory_mb
    services.compute_cores[other] = event.compute_cores
    services.ttft_ms[other] = event.ttft_ms
    services.regions[other] = tuple(state.region_index(region) for region in event.regions)
    state.replicas.failures[:, other] = 0
    state.replicas.failed[:, other] = NO_VERSION
    state.beside[other] = Beside(column, event.plan.share)


def _version(state: GridState, column: int, digest: str) -> int:
    known = state.services.digests[column]
    if digest not in known:
        known.append(digest)
    return known.index(digest)


def _change_places(
    state: GridState, one: Rollout, column: int, other: int
) -> Iterator[StopReplica]:
    """The new version is the service, the old one stands beside where it serves now."""
    services, replicas, sites = state.services, state.replicas, state.site_count
    old, new = int(services.version[column]), int(services.version[other])
    holds_old = replicas.serving[:sites, column] == old
    for row in np.flatnonzero(
        (replicas.started[:sites, other] != NO_VERSION) & ~holds_old
    ).tolist():
        replicas.started[row, other] = NO_VERSION
        yield StopReplica(state.site_names[row], beside(one.service))
    # Not yet asked for the old version there, but it may stay: see `control.beside`.
    replicas.started[:sites, other][holds_old] = new
    replicas.serving[:, other] = NO_VERSION
    services.version[column] = _version(state, column, one.new_digest)
    services.version[other] = _version(state, other, one.old_digest)
    for values in (services.memory_mb, services.compute_cores, services.ttft_ms):
        values[[column, other]] = values[[other, column]]
    regions = services.regions
    regions[column], regions[other] = regions[other], regions[column]
    replicas.failures[:, [column, other]] = 0
    replicas.failed[:, [column, other]] = NO_VERSION


def _serving(state: GridState, column: int) -> BoolColumn:
    """Sites that requests for a version can go to: (sites,)."""
    sites, columns = state.site_count, state.sites
    serves = state.replicas.serving[:sites, column] == state.services.version[column]
    able: BoolColumn = serves & (columns.status[:sites] == UP) & (columns.share[:sites] > 0.0)
    return able


def _seen(state: GridState, one: Rollout, column: int, now_s: float) -> rollout.Seen:
    sites, replicas, version = state.site_count, state.replicas, state.services.version[column]
    failed = replicas.failed[:sites, column] == version
    failures = np.where(failed, replicas.failures[:sites, column], 0)
    new, old = one.counts()
    return rollout.Seen(
        age_s=now_s - one.began_s,
        watched_s=now_s - one.watched_since_s if one.phase != "loading" else -1.0,
        new=new,
        old=old,
        new_card=one.new_card,
        old_card=one.old_card,
        deaths=one.deaths,
        load_failures=int(failures.max(initial=0)),
        room=bool(replicas.wanted[:sites, column].any()),
    )


def _may_retire(state: GridState, one: Rollout, column: int, now_s: float) -> bool:
    """Whether nothing runs on the losing version any more, or it has stood for long enough."""
    since_s = now_s - one.ended_s
    if since_s < SETTLE_S or since_s >= one.plan.keep_s:
        return since_s >= one.plan.keep_s
    sites, replicas = state.site_count, state.replicas
    up = state.sites.status[:sites] == UP
    # How long a line is fades slowly, see `orchestrator.WAITING_RATE`: less than half is none.
    jobs = replicas.running[:sites, column] + np.round(replicas.waiting[:sites, column])
    busy = up & (replicas.serving[:sites, column] != NO_VERSION) & (jobs > 0.0)
    main = state.service_row[one.service]
    version = state.services.version[main]
    served = replicas.serving[:sites, main]
    behind = up & (served != NO_VERSION) & (served != version)
    return not (busy.any() or (one.phase == "promoted" and behind.any()))
