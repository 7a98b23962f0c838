"""A day of a country under one policy, minute by minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aigrid.control.policy import Policy
from aigrid.twin.fluid import chance, checks, demand, flows, paths, radio, serving, tally
from aigrid.twin.fluid.decisions import KEPT, Orchestrator
from aigrid.twin.fluid.experience import Known
from aigrid.twin.fluid.gateways import Gateways
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.mixes import Mixes
from aigrid.twin.fluid.radio import RadioTables
from aigrid.twin.fluid.responses import PATHS, Responses, quantile_ms, ttft_counts
from aigrid.twin.fluid.threads import Threads, parts
from aigrid.twin.fluid.trace import Trace, folded
from aigrid.twin.fluid.ways import Ways
from aigrid.twin.policies import Plan

Floats = NDArray[np.float64]
# Devices that the radio keeps busy, and the sum of its misses.
Sums = tuple[float, float]
Result = TypeVar("Result")
Other = TypeVar("Other")
MINUTE_S = 60.0
# Latency over the day, and how origins fare, are looked at this often.
LOOK_MIN = 30
_EDGES_MS = np.concatenate((np.geomspace(1.0, 1e5, 60), [np.inf]))


class Day:
    """One policy's day; `run` it once.

    Args:
        ground: what stays.
        plan: what the policy decides by.
        policy: dials.
        tables: of the radio.
        responses: of the sites.
        known: as the days before left it.
        seed: of chance.
        threads: to share work.
        trace: hears every decision and outcome.
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
    ) -> None:
        count, services = len(ground.network), len(ground.country.services)
        self._ground, self._plan, self._tables = ground, plan, tables
        self._mixes, self._known, self._seed = Mixes(ground, responses), known, seed
        self._warm = responses.warm
        self._threads, self._trace = threads, trace
        self.orchestrator = Orchestrator(ground, plan, policy, known, tables, responses, threads)
        self._rates = demand.by_customer(ground.country)
        self._came, self._refused, self._in_line = np.zeros((3, services))
        self._made, self._given_busy_work = 0.0, np.zeros(3)
        self._everything = max(float(ground.compute.sum()), 1e-9)
        self._radios = max(int(ground.has_radio.sum()), 1)
        self._used_missed = np.zeros(2)
        self._begun: list[tuple[int, Sums | None]] = []
        self._rows = parts(slice(0, count))
        self._columns = (0,) * ground.reach.shape[1]
        self._arrive = np.zeros((services, count))
        self._good = np.zeros((services, count), np.float32)
        self._load_seen, self._turned = np.zeros(count), np.zeros(count + 1, np.int64)
        self._tokens = np.array(
            [s.prompt_tokens.mean + s.generated_tokens.mean for s in ground.country.services]
        )
        self._ways = Ways(ground, self._tokens)
        self._gateways = Gateways(ground, responses.turns)
        points = self._mixes.most_points
        self._seen_mass = np.zeros((services, points, 2, PATHS))
        self.tally = tally.empty(count, services, points, PATHS, ground.country.minutes)
        sums = self.tally.busy_sum, self.tally.share_sum, self.tally.tokens_sum
        self._standing = serving.standing_of(ground, responses.turns, self._mixes, self._tokens)
        self._outcome = serving.outcome_of(services, count, *sums)
        self._fared = (self.tally.asked, self.tally.answered, self.tally.promised)

    def run(self, on_progress: Callable[[int], None]) -> tally.Tally:
        """All minutes; `on_progress` hears how many are done.

        Raises:
            RuleBrokenError: a minute broke a rule of `checks`.
        """
        minutes = self._ground.country.minutes
        for minute in range(minutes):
            self._minute(minute)
            on_progress(minute + 1)
        self.tally.in_flight = self._in_line
        return self.tally

    @property
    def responses(self) -> Responses:
        """Tables, with those of all mixes that were asked of sites so far."""
        return self._mixes.responses

    @property
    def minute(self) -> tally.Minute:
        """The minute that is just over."""
        outcome = self._outcome
        return tally.Minute(
            outcome.served, self._good, outcome.over, outcome.load, self._ways.joined
        )

    def _minute(self, minute: int) -> None:
        began = time.perf_counter()
        if self._plan.sells_ai:
            self.orchestrator.load_on()
        found = self._begun or self._threads.each(self._beginning(minute), self._rows)
        self._begun = []
        if self._is_decided(minute):
            kept = self._lap("radio and demand", began)
            sums = self._route(minute)
            began = self._lap("routing", kept)
        else:
            sums = [one for _, one in found if one is not None]
        for bits, _ in found:
            self._trace.add_folded(bits)
        self._used_missed = np.array(sums).sum(axis=0)
        happened = self._lap("radio and demand", began)
        if self._plan.sells_ai:
            self._flow(minute)
        else:
            self._refuse_all()
            self.orchestrator.learned(minute, self._is_routed(minute))
        flowed = self._lap("flows", happened)
        self._add_up(minute)
        self._lap("figures and checks", flowed)

    def _beginning(self, minute: int) -> Callable[[slice], tuple[int, Sums | None]]:
        """What of a minute, by rows, needs no figures of the one before.

        Rows know nothing of each other here: unless something is decided in between, they are taken
        through at once.
        """
        keep, happen = partial(self._keep_radio, minute), self._happening(minute)
        if self._is_decided(minute):
            return lambda rows: (keep(rows), None)
        return lambda rows: (keep(rows), happen(rows))

    def _lap(self, phase: str, began: float) -> float:
        now = time.perf_counter()
        self.tally.seconds[phase] = self.tally.seconds.get(phase, 0.0) + now - began
        return now

    def _is_routed(self, minute: int) -> bool:
        return minute % self._ground.country.route_period_min == 0

    def _is_placed(self, minute: int) -> bool:
        return minute % self._ground.country.place_period_min == 0

    def _is_looked_at(self, minute: int) -> bool:
        return minute % LOOK_MIN == LOOK_MIN - 1

    def _is_decided(self, minute: int) -> bool:
        """Where services stand, or by which routes they are reached, is decided anew."""
        is_due = self._is_placed(minute) or self._is_routed(minute)
        return is_due and self._plan.sells_ai

    def _keep_radio(self, minute: int, rows: slice) -> int:
        """Set the shares of a minute, and check them; all of them in 64 bits."""
        self.orchestrator.guard(minute, rows)
        decided = self.orchestrator.decided
        where = checks.Where(self._plan.name, minute, self._ground)
        checks.radio_first(where, decided.share, decided.need, decided.blocked, rows)
        return folded(decided.share[rows])

    def _route(self, minute: int) -> list[Sums]:
        """Decide, and let the minute happen beside that; what the latter gives, by rows."""
        country, orchestrator = self._ground.country, self.orchestrator
        orchestrator.expect(minute, country.route_period_min)
        if self._is_placed(minute):
            orchestrator.place(is_first=minute == 0)
            where = checks.Where(self._plan.name, minute, self._ground)
            checks.in_memory(where, orchestrator.decided.resident)
            checks.allowed(where, orchestrator.decided.resident.T)
            self._trace.add(orchestrator.decided.resident)
        decided, is_first = orchestrator.decided, minute == 0
        hold = partial(
            self._gateways.hold, decided.share, self._arrive, self._outcome.running, decided.ready
        )
        self._threads.each(hold, self._rows)
        weighing = orchestrator.weighing(minute, self._load_seen, is_first, self._follow)
        folds, sums = self._beside("routing", weighing, self._happening(minute))
        for bits in folds:
            self._trace.add_folded(bits)
        self._ways.congest()
        self.tally.series["link_load_max"][minute:] = self._ways.link_load_max
        return sums

    def _follow(self, s: int) -> int:
        """Gateways send a service's requests by its new weights; all of these in 64 bits."""
        weight, expected = self.orchestrator.decided.weight[s], self.orchestrator.decided.expected
        self._gateways.follow(s, weight, expected[s])
        self._ways.follow(s, self._gateways.sent[s], self._gateways.only[s], expected[s])
        return folded(weight)

    def _happening(self, minute: int) -> Callable[[slice], Sums]:
        """Load and demand of this minute, by rows; what was decided cannot know them."""
        ground, known = self._ground, self._known
        share, memory = self.orchestrator.decided.share, ground.country.radio.memory
        start = chance.key(self._seed, chance.RADIO, minute)
        keys = (
            chance.key(self._seed, chance.DEMAND, minute),
            chance.key(self._seed, chance.BURSTS, minute),
        )

        def happen(rows: slice) -> Sums:
            sums = radio.minute_of_radio(
                ground, self._tables, known.radio, share, minute, start, memory, rows
            )
            # At once, while the load is still in the processor's cache.
            self.orchestrator.learn_load(minute, rows)
            demand.minute_of_demand(
                ground.country,
                known.requests,
                self._rates,
                self._tables.normals,
                minute,
                keys,
                demand.MEMORY,
                rows,
            )
            return sums

        return happen

    def _refuse_all(self) -> None:
        came = self._known.requests.rate.sum(axis=1) * MINUTE_S
        self.tally.came += came
        self.tally.refused += came
        self._came = self._refused = came
        self._made = 0.0

    def _flow(self, minute: int) -> None:
        services = range(len(self._rates))
        before = self._in_line
        pushed = np.array(self._threads.each(self._push, services)).T * MINUTE_S
        self._came, self._refused = np.ascontiguousarray(pushed)
        if self._is_routed(minute):
            self._mixes.follow(self._arrive, self._threads)
        self._ways.up[:] = 0.0
        self._given_busy_work[:] = 0.0
        upper = self._ground.levels[-1].start
        came_there = self._arrive[:, :upper].copy()
        for level in reversed(self._ground.levels):
            sums = self._threads.each(partial(self._serve, minute), parts(level))
            self._given_busy_work += np.array(sums).sum(axis=0)
            count = flows.listed(level.start, level.stop, self._outcome.turned, self._turned)
            if count:  # so few that to wake another thread takes as long
                self._refused += [self._up(self._turned[:count], s) for s in services]
        self.orchestrator.learned(minute, self._is_routed(minute))
        good, served, self._in_line = np.array(self._accounts(minute, came_there)).T
        where = checks.Where(self._plan.name, minute, self._ground)
        checks.conserved(where, self._came, served, self._refused, before, self._in_line)
        self.tally.came += self._came
        self.tally.served += served
        self.tally.refused += self._refused
        self.tally.good += good
        self._made = float((self._tokens * served).sum()) / MINUTE_S

    def _accounts(self, minute: int, came_there: Floats) -> list[tuple[float, float, float]]:
        """Account for all services, and begin the next minute beside that: threads wait less."""
        tasks = [partial(self._account, came_there, s) for s in range(len(self._rates))]
        if minute + 1 < self._ground.country.minutes and not self._is_looked_at(minute):
            found, self._begun = self._beside("flows", tasks, self._beginning(minute + 1))
            return found
        return self._threads.together(tasks, [])[0]

    def _beside(
        self,
        phase: str,
        tasks: Sequence[Callable[[], Result]],
        by_rows: Callable[[slice], Other],
    ) -> tuple[list[Result], list[Other]]:
        """Run tasks of a phase, and what goes on by rows beside them; the time is told apart."""
        began, more = time.perf_counter(), [partial(by_rows, rows) for rows in self._rows]
        found, rest, part = self._threads.together(tasks, more)
        beside_s = (time.perf_counter() - began) * part
        for name, more_s in (("radio and demand", beside_s), (phase, -beside_s)):
            self.tally.seconds[name] = self.tally.seconds.get(name, 0.0) + more_s
        return found, rest

    def _push(self, s: int) -> tuple[float, float]:
        found: tuple[float, float] = flows.push(
            self._ways.target[s],
            self._ways.several[s],
            self._known.requests.rate[s],
            self._arrive[s],
            self._columns,
        )
        return found

    def _serve(self, minute: int, rows: slice) -> tuple[float, float, float]:
        coming = serving.Coming(
            self._known.radio.given, self._ways.stays, self.orchestrator.decided.ready, self._arrive
        )
        found: tuple[float, float, float] = serving.serve(
            rows.start, rows.stop, self._standing, coming, self._outcome, (0,) * len(self._rates)
        )
        serving.remember(self._load_seen[rows], self._outcome.load[rows], KEPT if minute else 0.0)
        # At once, while what was served is still in the processor's cache.
        where = checks.Where(self._plan.name, minute, self._ground)
        checks.within_compute(where, coming.share, self._outcome.served, rows)
        return found

    def _up(self, rows: NDArray[np.int64], s: int) -> float:
        ways, above = self._ways, self._ground.above
        over, arrive = self._outcome.over[s], self._arrive[s]
        return float(flows.go_up(rows, over, above, ways.up_bin, arrive, ways.up[s]))

    def _account(self, came_there: Floats, s: int) -> tuple[float, float, float]:
        outcome = self._outcome
        self._ways.join(s, came_there[s])
        found: tuple[float, float, float] = paths.account(
            outcome.served[s],
            outcome.line[s],
            outcome.held,
            outcome.point,
            self._ways.code[s],
            self._ways.blends[s],
            self._ways.joined[s],
            self._ways.stays[s],
            self._warm[s],
            self._mixes.kept[s],
            self.tally.mass[s],
            self._good[s],
            (0,) * PATHS,
        )
        return found

    def _add_up(self, minute: int) -> None:
        sums, everything = self.tally, self._everything
        used, missed = self._used_missed
        given, busy, work = self._given_busy_work
        values = {
            "radio": used / everything,
            "ai": busy / everything,
            "utilisation": (used + busy) / everything,
            "ai_work": work / everything,
            "share_mean": given / everything,
            "radio_miss": missed / self._radios,
            "requests_per_s": self._came.sum() / MINUTE_S,
            "tokens_per_s": self._made,
            "refused_per_s": self._refused.sum() / MINUTE_S,
            "in_line": self._in_line.sum(),
        }
        for name, value in values.items():
            sums.series[name][minute] = value
        self._trace.add(np.array(list(values.values())), self._came, self._refused)
        if self._is_looked_at(minute):
            self._look()

    def _look(self) -> None:
        """Latency of the last half hour; how each origin fares now."""
        if not self._plan.sells_ai:
            self.tally.asked += self._known.requests.rate.sum(axis=0)
            return
        services, responses = range(len(self._rates)), self.responses
        for fared in self._threads.each(self._look_at, services):
            for sums, of_service in zip(self._fared, fared, strict=True):
                sums += of_service
        mass, seen = self.tally.mass, self._seen_mass
        used = slice(0, responses.points)

        def late(s: int) -> Floats:
            new = mass[s, used] - seen[s, used]
            seen[s, used] = mass[s, used]
            return ttft_counts(self._ground, responses, s, new, _EDGES_MS)

        counts = sum(self._threads.each(late, services))
        self.tally.ttft_p50.append(quantile_ms(_EDGES_MS, np.asarray(counts), 0.5))
        self.tally.ttft_p99.append(quantile_ms(_EDGES_MS, np.asarray(counts), 0.99))

    def _look_at(self, s: int) -> Floats:
        return paths.fared(
            self._ground,
            self._arrive[s],
            self._outcome.over[s],
            self._good[s],
            self._gateways.sent[s],
            self._known.requests.rate[s],
        )
