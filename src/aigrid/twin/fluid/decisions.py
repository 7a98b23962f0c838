"""What the orchestrator decides for every site, by its own kernels: shares, placement, routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aigrid.control import fill, forecast, guard, neighbours, place, pour
from aigrid.control.forecast import DailyProfile
from aigrid.control.policy import Policy
from aigrid.twin.fluid import baselines, demand, guarded, radio, sites
from aigrid.twin.fluid.candidates import candidates_of
from aigrid.twin.fluid.experience import Known
from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.fluid.radio import RadioTables
from aigrid.twin.fluid.responses import LOAD_LOOKUP, LOAD_STEPS, LOADS, PROMISED, Responses
from aigrid.twin.fluid.threads import Threads, parts
from aigrid.twin.policies import FIXED, GUARD, LEAST_LOADED, NEAREST, WATERFILL, Plan

Floats = NDArray[np.float64]
# A rise of load as unlikely as that a site which is counted on is late, in standard deviations.
LARGE = NormalDist().inv_cdf(PROMISED)
# Weight of a new value in a profile: a half hour a day for a month.
LEARN_RATE = 0.001
# What sites and gateways count is averaged over about ten minutes before anything is decided by it:
# the requests of one tower and minute are few.
KEPT = 0.9
MINUTE_S = 60.0
Rows = list[slice]
Result = TypeVar("Result")


@dataclass(slots=True)
class Decided:
    """Columns that hold what was decided.

    Attributes:
        share: (N,) of compute that AI may use.
        need: (N,) devices that the radio is reckoned to need, behind `share`.
        blocked: (N,) where AI must be off.
        resident: (N, S) what stands where.
        loading_s: (S, N) float32 until it serves.
        ready: (S, N) float32 part of this minute in which it serves.
        expected: (S, N) requests a second forecast for each origin.
        weight: (S, N, K) float32 of the candidates.
    """

    share: Floats
    need: Floats
    blocked: NDArray[np.bool_]
    resident: NDArray[np.bool_]
    loading_s: NDArray[np.float32]
    ready: NDArray[np.float32]
    expected: Floats
    weight: list[NDArray[np.float32]]


class Orchestrator:
    """Calls `control`'s kernels for a whole country, under one plan.

    Args:
        ground: what stays.
        plan: what the policy decides by.
        policy: dials.
        known: forecasts and the last measurements; profiles go on learning.
        tables: of the radio.
        responses: tables, for the predicted time to first token.
        threads: to share work.
    """

    def __init__(
        self,
        ground: Ground,
        plan: Plan,
        policy: Policy,
        known: Known,
        tables: RadioTables,
        responses: Responses,
        threads: Threads,
    ) -> None:
        count, services = len(ground.network), len(ground.country.services)
        self._ground, self._plan, self._policy, self._known = ground, plan, policy, known
        self._tables, self._responses, self._threads = tables, responses, threads
        self._least = np.zeros(count)
        self._work_s = ground.by_site(ground.work_s)
        self._memory_need_gb = ground.by_site(ground.memory_need_gb)
        self._load_s = ground.by_site(ground.load_s)
        self._memory_gb = np.array([kind.memory_gb for kind in ground.types])[ground.type_of]
        self._rows = parts(slice(0, count))
        self._below, self._spare = np.zeros((2, services, count))
        self._serving = np.zeros((services, count), np.bool_)
        self._is_loading = False
        self._site_ms = np.zeros((services, count))
        self._candidates = [candidates_of(ground, s, policy) for s in range(services)]
        shapes = [own.reach.shape for own in self._candidates]
        self._idle = [np.zeros(shape, np.float32) for shape in shapes]
        self._own = [np.zeros(shape, np.float32) for shape in shapes]
        self._work = [pour.work_of(count, count, width) for _, width in shapes]
        fixed = plan.shares == FIXED
        need = radio.need_at_peak(ground, tables) if fixed else np.zeros(count)
        left = np.clip(1.0 - need / np.maximum(ground.compute, 1e-9), 0.0, 1.0)
        no_radio = ~ground.has_radio & ground.sells
        self.decided = Decided(
            share=np.where(ground.has_radio & fixed, left, no_radio.astype(np.float64)),
            need=need,
            blocked=np.zeros(count, np.bool_),
            resident=np.zeros((count, services), np.bool_),
            loading_s=np.zeros((services, count), np.float32),
            ready=np.zeros((services, count), np.float32),
            expected=np.zeros((services, count)),
            weight=[np.zeros(ground.reach.shape, np.float32) for _ in range(services)],
        )

    def shares(self, minute: int) -> None:
        """Set the shares of a minute from what was measured in the one before."""
        self._threads.each(partial(self.guard, minute), self._rows)

    def guard(self, minute: int, rows: slice) -> None:
        """The same for some rows."""
        if self._plan.shares != GUARD or not self._plan.sells_ai:
            return
        decided, ground, known = self.decided, self._ground, self._known
        memory = ground.country.radio.memory
        guarded.set_shares(
            rows.start,
            rows.stop,
            forecast.look_ahead(known.load, minute - 1, 1, 0.0, memory, smooth=True),
            known.radio.seen,
            self._tables.caution.slot,
            self._tables.caution.sustained,
            ground.network.cells,
            ground.compute,
            ground.preemption,
            ground.has_radio,
            known.radio.miss,
            self._policy.guard_miss_rate,
            guard.dials(self._policy),
            MINUTE_S,
            decided.need,
            decided.blocked,
            decided.share,
        )

    def learn(self, minute: int, of_demand: bool) -> None:
        """Take what a minute showed into the profiles."""
        self._threads.each(partial(self.learn_load, minute), self._rows)
        self.learned(minute, of_demand)

    def learn_load(self, minute: int, rows: slice) -> None:
        """The radio's load of some rows; `learned` says when all rows have been."""
        if self._plan.shares == GUARD and self._plan.sells_ai:
            _learn_rows(self._known.load, minute, self._known.radio.seen, rows)

    def learned(self, minute: int, of_demand: bool) -> None:
        """The load of a minute is learned; its demand is now, if wanted."""
        known = self._known
        if self._plan.shares == GUARD and self._plan.sells_ai:
            _count(known.load, minute)
        if of_demand:
            rate = known.requests.rate.reshape(-1)
            learn = partial(_learn_rows, known.demand, minute, rate)
            self._threads.each(learn, self._by_service(known.requests.rate))
            _count(known.demand, minute)

    def _by_service(self, values: Floats) -> Rows:
        services, sites = values.shape
        return [slice(s * sites, (s + 1) * sites) for s in range(services)]

    def expect(self, minute: int, ahead_min: float) -> None:
        """Forecast demand, of each origin and at or below each site."""
        decided, profile = self.decided, self._known.demand
        rate = self._known.requests.rate

        def one(rows: slice) -> None:
            part = DailyProfile(profile.mean[rows], profile.spread[rows], profile.seen)
            asked, s = rate.reshape(-1)[rows], rows.start // rate.shape[1]
            expected, below = decided.expected[s], self._below[s]
            forecast.demand_ahead(
                part, minute - 1, ahead_min, asked, demand.MEMORY, smooth=True, out=expected
            )
            above = self._ground.above
            neighbours.at_or_below(above, expected[:, None], out=below[:, None])

        self._threads.each(one, self._by_service(rate))

    def place(self, is_first: bool) -> None:
        """Decide what stands where; what is new loads first, unless the day begins with it."""
        decided, ground = self.decided, self._ground

        def one(rows: slice) -> bool:
            resident = decided.resident[rows]
            chosen = place.choose(
                self._policy,
                ground.compute[rows] * decided.share[rows],
                self._memory_gb[rows],
                self._below[:, rows].T,
                self._work_s[rows],
                self._memory_need_gb[rows],
                self._load_s[rows],
                ground.value_usd,
                ground.allowed[:, rows].T,
                resident,
            )
            came, loading_s = (chosen & ~resident).T, decided.loading_s[:, rows]
            load_s = 0.0 if is_first else self._load_s[rows].T
            loading_s[:] = np.where(came, load_s, loading_s * chosen.T)
            resident[:] = chosen
            return self._set_ready(rows)

        self._is_loading = any(self._threads.each(one, self._rows))

    def load_on(self) -> None:
        """A minute of loading has passed."""
        if self._is_loading:
            self._is_loading = any(self._threads.each(self._load_on, self._rows))

    def _load_on(self, rows: slice) -> bool:
        loading_s = self.decided.loading_s[:, rows]
        np.maximum(loading_s - MINUTE_S, 0.0, out=loading_s)
        return self._set_ready(rows)

    def _set_ready(self, rows: slice) -> bool:
        """Say which services can serve; whether any is still to be loaded."""
        decided, loading_s = self.decided, self.decided.loading_s[:, rows]
        part = np.clip(1.0 - loading_s / MINUTE_S, 0.0, 1.0)
        decided.ready[:, rows] = np.where(decided.resident[rows].T, part, 0.0)
        return bool(loading_s.any())

    def route(self, minute: int, load: Floats, is_first: bool) -> None:
        """Weigh all candidates anew.

        Args:
            minute: from which on they hold.
            load: (N,) of each site, offered over possible, as seen last.
            is_first: there are no weights yet that would damp the new ones.
        """
        self._threads.together(self.weighing(minute, load, is_first, lambda _: None), [])

    def weighing(
        self, minute: int, load: Floats, is_first: bool, after: Callable[[int], Result]
    ) -> list[Callable[[], Result]]:
        """What is left of `route` once each site's compute is split: a task for each service.

        Args:
            minute: as in `route`.
            load: likewise.
            is_first: likewise.
            after: what to do with a service once its weights are there; a task gives what it gives.
        """
        decided, ground = self.decided, self._ground
        compute = ground.compute * decided.share

        def split(rows: slice) -> None:
            self._least[rows] = self._least_share(minute, rows)
            resident, loaded = decided.resident[rows].T, decided.loading_s[:, rows] <= 0.0
            serving = np.logical_and(resident, loaded, out=self._serving[:, rows]).T
            asked, work_s = self._below[:, rows].T, self._work_s[rows]
            spare = self._spare[:, rows].T
            fill.split(self._policy, compute[rows], asked, work_s, serving, spare)

        def weigh(s: int) -> Result:
            decided.weight[s] = self._weigh(s, self._spare[s], compute, load, is_first)
            return after(s)

        self._threads.each(split, self._rows)
        return [partial(weigh, s) for s in range(len(self._spare))]

    def _least_share(self, minute: int, rows: slice) -> Floats:
        """Shares of `rows` to count on until routes are weighed again."""
        share, ground, known = self.decided.share[rows], self._ground, self._known
        if self._plan.shares != GUARD:
            return share
        profile = DailyProfile(known.load.mean[rows], known.load.spread[rows], known.load.seen)
        memory, ahead_min = ground.country.radio.memory, ground.country.route_period_min
        seen = known.radio.seen[rows]
        ahead = forecast.ahead(profile, minute - 1, ahead_min, seen, LARGE, memory, smooth=True)
        margin = self._policy.guard_margin
        return radio.least_share(ground, self._tables, ahead, margin, share, rows)

    def _weigh(
        self, s: int, spare: Floats, compute: Floats, load: Floats, is_first: bool
    ) -> NDArray[np.float32]:
        ground = self._ground
        weight: NDArray[np.float32]
        if self._plan.routing == NEAREST:
            weight = baselines.nearest(ground.reach, ground.above, spare)
        elif self._plan.routing == LEAST_LOADED:
            possible = np.where(spare > 0.0, compute / self._work_s[:, s], 0.0)
            weight = baselines.least_loaded(ground.reach, possible, load)
        elif self._plan.routing == WATERFILL:
            weight = self._poured(s, spare, load, is_first)
        else:
            weight = baselines.round_robin(ground.reach, spare)
        return weight

    def _poured(self, s: int, spare: Floats, load: Floats, is_first: bool) -> NDArray[np.float32]:
        decided, ground, country = self.decided, self._ground, self._ground.country
        slo_ms = max(country.services[s].ttft_slo_ms - country.path.radio_ms, 1.0)
        tpot_s = country.services[s].tpot_slo_ms / 1e3
        sites.site_times(
            self._least,
            ground.compute,
            ground.type_of,
            TOGETHER,
            load,
            self._responses.speed_needed(s, slo_ms / 1e3, tpot_s),
            slo_ms,
            self._policy.route_fill,
            LOADS,
            LOAD_LOOKUP,
            LOAD_STEPS,
            decided.ready[s],
            spare,
            self._site_ms[s],
        )
        # The weights before the ones in force make room for the new ones.
        candidates, before = self._candidates[s], self._own[s]
        self._own[s] = fill.waterfill(
            candidates.policy,
            candidates.reach,
            decided.expected[s],
            spare,
            self._site_ms[s],
            candidates.hop_ms,
            slo_ms,
            None if is_first else before,
            self._idle[s],
            self._work[s],
        )
        self._idle[s] = before
        if candidates.are_all:
            return self._own[s]
        decided.weight[s][:, candidates.columns] = self._own[s]
        return decided.weight[s]


def _learn_rows(profile: DailyProfile, minute: int, value: Floats, rows: slice) -> None:
    """Every part counts with the same number of values seen; `_count` puts it up once."""
    part = DailyProfile(profile.mean[rows], profile.spread[rows], profile.seen.copy())
    forecast.learn(part, minute, value[rows], LEARN_RATE)


def _count(profile: DailyProfile, minute: int) -> None:
    none = slice(0, 0)
    part = DailyProfile(profile.mean[none], profile.spread[none], profile.seen)
    forecast.learn(part, minute, np.zeros(0), LEARN_RATE)
