"""The orchestrator: `handle(now_s, event) -> commands`.

A thin shell that keeps the columns and calls the kernels (`forecast`, `place`, `route`, `guard`).
It reads no clock and does no I/O, so that the twin and the live grid drive the very same object,
and a recording of its events replays to the same commands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from aigrid.control import demand, guard, place, route
from aigrid.control.history import History
from aigrid.control.policy import Policy
from aigrid.control.rollouts import RolloutEvent, Rollouts
from aigrid.core.events import (
    AskToJoin,
    Command,
    DemandSeen,
    Event,
    Heartbeat,
    PublishRoutes,
    ReplicaReport,
    RolloutStarted,
    RolloutSteered,
    ServiceDeployed,
    ServiceUndeployed,
    SetShare,
    SiteHeld,
    SiteJoined,
    SiteLeft,
    SiteStatusChanged,
    SiteUnreachable,
    StartReplica,
    StopReplica,
    Tick,
    VersionsSeen,
)
from aigrid.core.routing import RoutingTable
from aigrid.core.state import HOLD_NAMES, LEFT, LOST, NO_VERSION, STATUS_NAMES, UP, GridState

# Weight of the newest heartbeat in how long a site's line is.
WAITING_RATE = 0.1
# Placement averages demand over this part of the time in which a replica must pay for its loading.
EXPECTED_PART = 0.1


class Orchestrator:
    """Keeps the grid's state and answers events with commands.

    Args:
        policy: the dials.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.state = GridState()
        self.routes = RoutingTable()
        self.weighed = self.routes
        self.routes_version = 0
        self.routes_at_s = -1e18
        self.history = History()
        self.rollouts = Rollouts()
        self.placed_s = -1e18
        self.holds: dict[str, int] = {}
        self._ways: route.Ways | None = None
        self._came = False
        self.routes_stale = True
        self._handlers: dict[type, Callable[[float, Any], Iterator[Command]]] = {
            SiteJoined: self._site_joined,
            SiteLeft: self._site_left,
            Heartbeat: self._heartbeat,
            SiteUnreachable: self._site_unreachable,
            SiteHeld: self._site_held,
            ServiceDeployed: self._service_deployed,
            ServiceUndeployed: self._service_undeployed,
            DemandSeen: self._demand_seen,
            RolloutStarted: self._rollout,
            RolloutSteered: self._rollout,
            VersionsSeen: self._rollout,
            Tick: self._tick,
        }

    def handle(self, now_s: float, event: Event) -> list[Command]:
        """What to do about one event.

        Args:
            now_s: time of the event, seconds on any clock that never goes back.
            event: what happened.

        Returns:
            commands in the order to carry them out.
        """
        commands = list(self._handlers[type(event)](now_s, event))
        commands += self._refresh_routes(now_s)
        return commands

    # -- sites ---------------------------------------------------------------------------------

    def _site_joined(self, now_s: float, event: SiteJoined) -> Iterator[Command]:
        row = self.state.put_site(event.site)
        self.rollouts.site_began_anew(self.state, row)
        sites = self.state.sites
        held = self.state.replicas.serving[row, : self.state.service_count] != NO_VERSION
        self.routes_stale |= bool(held.any())
        self.state.forget_replicas(row)
        sites.slots_on_time[row] = sites.slots_missed[row] = 0
        sites.heartbeat_s[row] = now_s
        sites.hold[row] = self.holds.get(event.site.name, 0)
        sites.share[row] = 0.0 if sites.has_radio[row] else 1.0
        sites.next_share[row] = 1.0
        sites.share_set_s[row] = now_s
        self._ways, self._came = None, True
        yield from self._set_status(row, UP)
        yield SetShare(event.site.name, float(sites.share[row]))
        yield from self._place(now_s, only=row)

    def _site_left(self, now_s: float, event: SiteLeft) -> Iterator[Command]:
        row = self.state.site_row.get(event.site)
        if row is not None:
            self.state.forget_replicas(row)
            yield from self._set_status(row, LEFT)

    def _site_unreachable(self, now_s: float, event: SiteUnreachable) -> Iterator[Command]:
        row = self.state.site_row.get(event.site)
        if row is not None and self.state.sites.status[row] == UP:
            yield from self._set_status(row, LOST)

    def _site_held(self, now_s: float, event: SiteHeld) -> Iterator[Command]:
        self.holds[event.site] = hold = HOLD_NAMES.index(event.hold)
        row = self.state.site_row.get(event.site)
        if row is not None:
            self.state.sites.hold[row] = hold
            yield from self._place(now_s)

    def _set_status(self, row: int, status: int) -> Iterator[Command]:
        if self.state.sites.status[row] != status:
            self.state.sites.status[row] = status
            self._moved(came=status == UP)
            yield SiteStatusChanged(self.state.site_names[row], STATUS_NAMES[status])

    def _moved(self, *, came: bool) -> None:
        """Somebody came to the routes or left them."""
        self._came |= came
        self.routes_stale |= not came

    def _heartbeat(self, now_s: float, beat: Heartbeat) -> Iterator[Command]:
        row = self.state.site_row.get(beat.site)
        if row is None or self.state.sites.status[row] == LEFT:
            yield AskToJoin(beat.site)
            return
        sites = self.state.sites
        sites.heartbeat_s[row] = now_s
        sites.radio_load[row] = beat.radio_load
        sites.radio_need_cores[row] = beat.radio_need_cores
        self._note_slots(row, beat)
        self._note_replicas(now_s, row, beat.replicas)
        yield from self._set_status(row, UP)
        yield from self._guard(now_s, row)
        yield from self._place(now_s, only=row)

    def _note_slots(self, row: int, beat: Heartbeat) -> None:
        """Count slots; a front-end that restarted counts from zero, so all it counted is new."""
        sites = self.state.sites
        on_time = beat.slots_on_time - int(sites.slots_on_time[row])
        missed = beat.slots_missed - int(sites.slots_missed[row])
        if on_time < 0 or missed < 0:
            on_time, missed = beat.slots_on_time, beat.slots_missed
        sites.missed_lately[row] = missed > self.policy.guard_miss_rate * (on_time + missed)
        sites.slots_on_time[row] = beat.slots_on_time
        sites.slots_missed[row] = beat.slots_missed

    # -- services ------------------------------------------------------------------------------

    def _service_deployed(self, now_s: float, event: ServiceDeployed) -> Iterator[Command]:
        new = "another version was deployed"
        yield from self.rollouts.drop(self.state, event.service, new, event.digest)
        column = self.state.put_service(event.service)
        services = self.state.services
        if event.digest not in services.digests[column]:
            services.digests[column].append(event.digest)
        services.version[column] = services.digests[column].index(event.digest)
        services.wanted[column] = True
        services.memory_mb[column] = event.memory_mb
        services.compute_cores[column] = event.compute_cores
        services.ttft_ms[column] = event.ttft_ms
        services.regions[column] = tuple(self.state.region_index(r) for r in event.regions)
        # Ask every site anew: one that already serves this version has nothing to do. Sites where
        # it may stand no longer keep their mark, or nobody would stop it there.
        asked = np.flatnonzero(place.wanted(self.state, policy=self.policy)[:, column])
        self.state.replicas.started[asked, column] = NO_VERSION
        self.state.replicas.failures[:, column] = 0
        self.state.replicas.failed[:, column] = NO_VERSION
        self._ways, self.routes_stale = None, True
        yield from self._place(now_s)

    def _service_undeployed(self, now_s: float, event: ServiceUndeployed) -> Iterator[Command]:
        column = self.state.service_row.get(event.service)
        if column is not None:
            yield from self.rollouts.drop(self.state, event.service, "the service was undeployed")
            self.state.services.wanted[column] = False
            self.routes_stale = True
            yield from self._place(now_s)

    def _rollout(self, now_s: float, event: RolloutEvent) -> Iterator[Command]:
        yield from self.rollouts.handle(self.state, now_s, event)
        yield from self._roll(now_s)

    def _roll(self, now_s: float) -> Iterator[Command]:
        """A rollout moved: placement and routes follow."""
        if self.rollouts.moved:
            self.rollouts.moved = False
            self._ways, self.routes_stale = None, True
            yield from self._place(now_s)

    def _demand_seen(self, now_s: float, event: DemandSeen) -> Iterator[Command]:
        demand.note(self.policy, self.state, now_s, event)
        yield from ()

    def _note_replicas(self, now_s: float, row: int, reports: tuple[ReplicaReport, ...]) -> None:
        reported = {report.service for report in reports}
        for service, column in self.state.service_row.items():
            if service not in reported and self.state.replicas.serving[row, column] != NO_VERSION:
                self.state.replicas.serving[row, column] = NO_VERSION
                self.routes_stale = True
        for report in reports:
            self._note_replica(now_s, row, report)

    def _note_replica(self, now_s: float, row: int, report: ReplicaReport) -> None:
        column = self.state.service_row.get(report.service)
        if column is None:
            return
        replicas = self.state.replicas
        before = replicas.serving[row, column]
        # One that was told to stop may not know yet; it counts again when asked to start again.
        stopping = replicas.started[row, column] == NO_VERSION
        version = NO_VERSION if stopping else self._version(column, report.digest)
        replicas.serving[row, column] = version
        if before != version:
            self._moved(came=version != NO_VERSION)
        replicas.running[row, column] = report.running
        # One look at a line says little: who follows it sends everybody to and fro.
        replicas.waiting[row, column] += WAITING_RATE * (
            report.waiting - replicas.waiting[row, column]
        )
        replicas.tokens_per_s[row, column] = report.tokens_per_s
        replicas.requests_per_s[row, column] = report.requests_per_s
        if report.state == "failed":
            self._note_failure(now_s, row, column, self._version(column, report.pending))

    def _note_failure(self, now_s: float, row: int, column: int, version: int) -> None:
        replicas = self.state.replicas
        if version == NO_VERSION or replicas.started[row, column] != version:
            return
        replicas.started[row, column] = replicas.serving[row, column]
        replicas.failed[row, column] = version
        pause_s = self.policy.retry_s * 2.0 ** float(min(replicas.failures[row, column], 16))
        replicas.failures[row, column] += 1
        replicas.retry_at_s[row, column] = now_s + min(pause_s, self.policy.retry_max_s)

    def _version(self, column: int, digest: str) -> int:
        known = self.state.services.digests[column]
        return known.index(digest) if digest in known else NO_VERSION

    # -- decisions -----------------------------------------------------------------------------

    def _place(self, now_s: float, only: int | None = None) -> Iterator[Command]:
        """Start what is wanted and not started, stop what is not wanted; all sites, or one."""
        state, replicas = self.state, self.state.replicas
        services = slice(0, state.service_count)
        first = 0 if only is None else only
        rows = slice(first, state.site_count if only is None else first + 1)
        wanted = place.wanted(state, only, self.policy)
        replicas.wanted[rows, services] = wanted
        started = replicas.started[rows, services]
        version = state.services.version[services]
        held_back = (replicas.failed[rows, services] == version) & (
            replicas.retry_at_s[rows, services] > now_s
        )
        start = wanted & (started != version) & ~held_back
        present = (state.sites.status[rows] == UP)[:, None]
        stop = ~wanted & (started != NO_VERSION) & present
        for row, column in np.argwhere(start | stop).tolist():
            yield self._start_or_stop(first + row, column, bool(start[row, column]))

    def _start_or_stop(self, row: int, column: int, start: bool) -> Command:
        site, service = self.state.site_names[row], self.state.service_names[column]
        if not start:
            self.state.replicas.started[row, column] = NO_VERSION
            self.state.replicas.serving[row, column] = NO_VERSION
            self.routes_stale = True
            return StopReplica(site, service)
        version = int(self.state.services.version[column])
        self.state.replicas.started[row, column] = version
        return StartReplica(site, service, self.state.services.digests[column][version])

    def _guard(self, now_s: float, row: int) -> Iterator[Command]:
        sites, one = self.state.sites, slice(row, row + 1)
        need_cores = sites.radio_need_cores[one]
        new = guard.shares(
            self.policy,
            need_cores,
            sites.compute_cores[one],
            sites.has_radio[one],
            sites.missed_lately[one],
            sites.share[one],
            now_s - sites.share_set_s[one],
        )[0]
        left = guard.room(self.policy, need_cores, sites.compute_cores[one])[0]
        held = sites.missed_lately[row] or left - sites.share[row] < self.policy.guard_step
        if held or new != sites.share[row]:
            # Time spent held down buys no rise: else a long busy spell would end in a leap.
            sites.share_set_s[row] = now_s
        told = self._notice(now_s, row, float(need_cores[0]), float(new))
        if new != sites.share[row] or told != sites.next_share[row]:
            if (new == 0.0) != (sites.share[row] == 0.0):
                self._moved(came=new > 0.0)
            sites.share[row], sites.next_share[row] = new, told
            yield self._set_share(row)

    def _notice(self, now_s: float, row: int, need_cores: float, share: float) -> float:
        """What the share of a site is to fall to soon, 1 for nothing; told anew where it moved."""
        sites, notice_s = self.state.sites, self.policy.notice_s
        then_cores = self.history.radio_ahead(now_s, notice_s, row, need_cores)
        one = slice(row, row + 1)
        new = float(
            guard.notice(
                self.policy, np.array([then_cores]), sites.compute_cores[one], np.array([share])
            )[0]
        )
        old = float(sites.next_share[row])
        same = (new == 1.0) == (old == 1.0) and abs(new - old) < self.policy.guard_step
        return old if same else new

    def _set_share(self, row: int) -> SetShare:
        share, then = (
            round(float(column[row]), 4)
            for column in (self.state.sites.share, self.state.sites.next_share)
        )
        notice_s = self.policy.notice_s if then < 1.0 else 0.0
        return SetShare(self.state.site_names[row], share, then, notice_s)

    def _tick(self, now_s: float, event: Tick) -> Iterator[Command]:
        sites, count = self.state.sites, self.state.site_count
        silent = now_s - sites.heartbeat_s[:count] > self.policy.heartbeat_timeout_s
        for row in np.flatnonzero(silent & (sites.status[:count] == UP)).tolist():
            yield from self._set_status(row, LOST)
        demand.fade(self.policy, self.state, now_s)
        self.history.learn(now_s, self.state)
        if now_s - self.placed_s >= self.policy.place_period_s:
            self._expect(now_s)
        yield from self._place(now_s)
        yield from self.rollouts.look(self.state, now_s)
        yield from self._roll(now_s)

    def _expect(self, now_s: float) -> None:
        """What placement reckons with until the next look: demand now or soon, where it is more."""
        part = 1.0 - math.exp(
            (self.placed_s - now_s) / (EXPECTED_PART * self.policy.place_horizon_s)
        )
        self.placed_s = now_s
        growth = self.history.growth(now_s, self.policy.place_horizon_s, self.state)
        expected = demand.at_or_below(self.state) * np.maximum(growth, 1.0)
        sites, services = expected.shape
        known = self.state.replicas.expected_per_s[:sites, :services]
        # Requests come by chance: who follows every count shuffles a calm grid.
        known += np.where(known > 0.0, part, 1.0) * (expected - known)

    def _refresh_routes(self, now_s: float) -> Iterator[Command]:
        """Publish a new table when something came or went, or when weights have moved enough."""
        due = now_s - self.routes_at_s >= self.policy.route_period_s
        at_once = self._came and self.state.site_count <= self.policy.route_batch_sites
        self._came = False
        if not (due or self.routes_stale or at_once):
            return
        if self._ways is None:
            self._ways = route.ways(self.state, self.policy.candidates)
        demand.note_residence(self.state)
        self.routes_at_s, self.routes_stale = now_s, False
        # Damped from the table weighed last, not from the one published last: else a move whose
        # damped half is too small to publish would never be made.
        weighed = route.table(self.policy, self.state, self._ways, self.weighed)
        self.weighed = replace(weighed, tracks=self.rollouts.tracks())
        if route.changed(self.policy, self.weighed, self.routes):
            self.routes = self.weighed
            self.routes_version += 1
            yield PublishRoutes(self.routes_version, self.routes)
