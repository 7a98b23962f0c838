"""A region under one policy: minutes of decisions, and between them every request."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aigrid.control.policy import Policy
from aigrid.twin.fluid import chance, checks, demand, radio, tally
from aigrid.twin.fluid.decisions import KEPT, Orchestrator
from aigrid.twin.fluid.experience import Known
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.radio import RadioTables
from aigrid.twin.fluid.responses import Responses
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.fluid.trace import Trace
from aigrid.twin.policies import Plan
from aigrid.twin.region import columns, rules
from aigrid.twin.region.arrivals import MINUTE_S, Played, arrivals_of
from aigrid.twin.region.columns import ENDED, FREE
from aigrid.twin.region.events import advance
from aigrid.twin.region.ledger import Ledger
from aigrid.twin.region.standing import sessions_before, world_of

Floats = NDArray[np.float64]


class City:
    """One policy's run, request by request; `run` it once.

    Args:
        ground: what stays.
        plan: what the policy decides by.
        policy: dials.
        tables: of the radio.
        responses: of the sites, for the orchestrator's predictions.
        known: as the days before left it.
        seed: of chance.
        trace: hears every decision and how every request ended.
        played: a trace of requests; None draws all of them.
    """

    def __init__(
        self,
        ground: Ground,
        plan: Plan,
        policy: Policy,
        tables: RadioTables,
        responses: Responses,
        known: Known,
        seed: int,
        threads: Threads,
        trace: Trace,
        played: Played | None = None,
    ) -> None:
        country = ground.country
        count, services = len(ground.network), len(country.services)
        self._ground, self._plan, self._tables, self._known = ground, plan, tables, known
        self._seed, self._trace, self._played = seed, trace, played
        self.orchestrator = Orchestrator(ground, plan, policy, known, tables, responses, threads)
        self._rates = demand.by_customer(country)
        self._rows = slice(0, count)
        self._work_s = ground.by_site(ground.work_s)
        self._seen = known.requests.rate.copy()
        self._offered, self._load = np.zeros((count, services)), np.zeros(count)
        self._used_missed = np.zeros(2)
        self.world = world_of(ground, played)
        self.ledger = Ledger(ground, responses.points)
        self._blocks = np.zeros(0, np.int64) if played is None else played.blocks
        self.seconds = 0.0

    def run(self, on_progress: Callable[[int], None]) -> tally.Tally:
        """All minutes; `on_progress` hears how many are done.

        Raises:
            RuleBrokenError: a rule of `fluid.checks` or of the engine was broken.
        """
        self._compile()
        for minute in range(self._ground.country.minutes):
            self._minute(minute)
            on_progress(minute + 1)
        return self.ledger.closed(self.world)

    def _compile(self) -> None:
        """Let no time pass and nobody come, so that `seconds` are those of events alone."""
        arrivals, ended = np.zeros(0, columns.ARRIVAL), np.zeros(0, columns.GONE_BY)
        speed = np.zeros(len(self.world.servers))
        advance(self.world, 0.0, 0.0, speed, arrivals, self._blocks, ended)

    def _minute(self, minute: int) -> None:
        self._decide(minute)
        true_rates = self._happen(minute)
        came = self._advance(minute, true_rates)
        self._look(minute, came)
        routed = minute % self._ground.country.route_period_min == 0
        self.orchestrator.learn(minute, routed)

    def _decide(self, minute: int) -> None:
        """Shares each minute, placement and routes now and then, as the fluid twin does."""
        country, orchestrator = self._ground.country, self.orchestrator
        decided = orchestrator.decided
        where = checks.Where(self._plan.name, minute, self._ground)
        orchestrator.shares(minute)
        checks.radio_first(where, decided.share, decided.need, decided.blocked, self._rows)
        self._trace.add(decided.share)
        if not self._plan.sells_ai:
            return
        orchestrator.load_on()
        is_placed = minute % country.place_period_min == 0
        if is_placed or minute % country.route_period_min == 0:
            orchestrator.expect(minute, country.route_period_min)
            if is_placed:
                orchestrator.place(is_first=minute == 0)
                checks.in_memory(where, decided.resident)
                checks.allowed(where, decided.resident.T)
                self._trace.add(decided.resident)
            orchestrator.route(minute, self._load, is_first=minute == 0)
            self._trace.add(*decided.weight)
        self._publish(minute)

    def _publish(self, minute: int) -> None:
        """What was decided becomes what gateways and sites know."""
        decided, world = self.orchestrator.decided, self.world
        for s, weight in enumerate(decided.weight):
            world.routes["weight"][:, s] = weight
            if minute == 0:  # whoever comes first goes on with sessions of the day before
                world.sessions[:, s] = sessions_before(self._ground, weight)
        loaded_s = minute * MINUTE_S + decided.loading_s.T.astype(np.float64)
        world.stands["ready_s"] = np.where(decided.resident, loaded_s, np.inf)

    def _happen(self, minute: int) -> Floats:
        """The radio's load and everybody's demand of this minute: (S, N) requests a second."""
        ground, known = self._ground, self._known
        share, memory = self.orchestrator.decided.share, ground.country.radio.memory
        start = chance.key(self._seed, chance.RADIO, minute)
        keys = (
            chance.key(self._seed, chance.DEMAND, minute),
            chance.key(self._seed, chance.BURSTS, minute),
        )
        self._used_missed = np.array(
            radio.minute_of_radio(
                ground, self._tables, known.radio, share, minute, start, memory, self._rows
            )
        )
        normals = self._tables.normals
        demand.minute_of_demand(
            ground.country,
            known.requests,
            self._rates,
            normals,
            minute,
            keys,
            demand.MEMORY,
            self._rows,
        )
        return known.requests.rate.copy()

    def _advance(self, minute: int, rates: Floats) -> Floats:
        """Every event of the minute; returns (S, N) requests that came."""
        ground, given = self._ground, self._known.radio.given
        arrivals = arrivals_of(ground.country, rates, minute, self._seed, self._played)
        self.world = world = columns.grown(self.world, len(arrivals))
        in_flight = len(world.requests) - int(world.counts[FREE])
        ended = np.zeros(in_flight + len(arrivals), columns.GONE_BY)
        world.share[:] = given
        world.stands["offered"] = 0
        world.cells["longest"] = world.cells["waiting"]
        world.counts[ENDED] = 0
        speed = given[world.servers["site"]] * world.servers["devices"]
        began_s, until_s = minute * MINUTE_S, (minute + 1) * MINUTE_S
        began = time.perf_counter()
        advance(world, began_s, until_s, speed, arrivals, self._blocks, ended)
        self.seconds += time.perf_counter() - began
        rules.raise_broken(checks.Where(self._plan.name, minute, ground), world)
        done = ended[: world.counts[ENDED]]
        self._trace.add(*(done[name].copy() for name in ("came_s", "first_s", "last_s", "site")))
        self.ledger.add(minute, done, len(arrivals), world, self._used_missed, given)
        shape = rates.shape
        cell = arrivals["service"].astype(np.int64) * shape[1] + arrivals["origin"]
        return np.bincount(cell, minlength=rates.size).reshape(shape).astype(np.float64)

    def _look(self, minute: int, came: Floats) -> None:
        """What gateways and sites have counted, for the next decisions."""
        ground = self._ground
        self._seen = KEPT * self._seen + (1.0 - KEPT) * came / MINUTE_S
        self._known.requests.rate[:] = self._seen
        kept = KEPT if minute else 0.0
        self._offered = (
            kept * self._offered + (1.0 - kept) * self.world.stands["offered"] / MINUTE_S
        )
        possible = self._known.radio.given * ground.compute
        wanted = (self._offered * self._work_s).sum(axis=1)
        self._load = np.divide(
            wanted, possible, out=np.zeros_like(wanted), where=(possible > 0.0) & (wanted > 0.0)
        )
