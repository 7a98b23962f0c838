"""What a run adds up to: by service, site, origin and minute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid import tally
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.responses import PATHS
from aigrid.twin.fluid.responses import TPOT_MS as TPOT_EDGES_MS
from aigrid.twin.fluid.responses import TTFT_MS as TTFT_EDGES_MS
from aigrid.twin.region.arrivals import MINUTE_S
from aigrid.twin.region.columns import FREE, HOPS, MOVED, Records, World
from aigrid.twin.region.tails import (
    BINS,
    MEASURES,
    TPOT,
    TTFT,
    counted,
    figures_of,
    quantile,
    rebinned,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LOOK_MIN = 30


class Ledger:
    """Sums of one policy's run.

    Attributes:
        sums: what `fluid.books` makes figures of, without latencies.
        counts: (3, S, BINS) TTFT, TPOT and end to end, of served requests.
    """

    def __init__(self, ground: Ground, points: int) -> None:
        services = len(ground.country.services)
        self._ground = ground
        self._slo_ms = np.array([(s.ttft_slo_ms, s.tpot_slo_ms) for s in ground.country.services])
        self._everything = max(float(ground.compute.sum()), 1e-9)
        self._radios = max(int(ground.has_radio.sum()), 1)
        self.sums = tally.empty(
            len(ground.network), services, points, PATHS, ground.country.minutes
        )
        self.counts = np.zeros((len(MEASURES), services, BINS))
        self._half_hour = np.zeros(BINS)
        self._busy_s, self._longest = 0.0, np.zeros(services, np.int64)
        self._line_s = np.zeros(services)
        self._minutes = 0
        self._in_flight = 0
        self.events, self.hops, self.moved = 0, 0, 0

    def add(
        self,
        minute: int,
        done: Records,
        came: int,
        world: World,
        used_missed: Floats,
        given: Floats,
    ) -> None:
        """Take in a minute: what ended in it, and what servers have done so far."""
        services = len(self._longest)
        served = done["site"] >= 0
        ttft_ms, tpot_ms, whole_ms = self._latencies(done)
        for s in range(services):
            mine = served & (done["service"] == s)
            first = counted(ttft_ms[mine])
            self._half_hour += first
            self.counts[0, s] += first
            self.counts[1, s] += counted(tpot_ms[mine & (done["generated"] > 1.0)])
            self.counts[2, s] += counted(whole_ms[mine])
        slo = self._slo_ms[done["service"]]
        good = served & (ttft_ms <= slo[:, 0]) & (tpot_ms <= slo[:, 1] * (1.0 + 1e-9))
        self._by_service(done, served, good)
        self._by_site(done, served, good, world, given)
        self._series(minute, done, served, came, world, used_missed, given)
        self._longest = np.maximum(self._longest, world.cells["longest"].max(axis=0))
        self._line_s = world.cells["line_s"].sum(axis=0)
        self._minutes = minute + 1

    def _latencies(self, done: Records) -> tuple[Floats, Floats, Floats]:
        """TTFT, TPOT and end to end of each, in ms, from the user's device and back."""
        radio_ms = self._ground.country.path.radio_ms
        ttft_ms, whole_ms = done["first_s"] * 1e3 + radio_ms, done["last_s"] * 1e3 + radio_ms
        later = np.maximum(done["generated"] - 1.0, 0.0)
        between = (whole_ms - ttft_ms) / np.maximum(later, 1e-9)
        return ttft_ms, np.where(later > 0.0, between, 0.0), whole_ms

    def _by_service(self, done: Records, served: Bools, good: Bools) -> None:
        sums, services = self.sums, len(self._longest)

        def count(rows: NDArray[np.bool_]) -> Floats:
            return np.bincount(done["service"][rows], minlength=services).astype(np.float64)

        sums.served += count(served)
        sums.refused += count(~served)
        sums.good += count(good)

    def _by_site(
        self,
        done: Records,
        served: Bools,
        good: Bools,
        world: World,
        given: Floats,
    ) -> None:
        sums, sites = self.sums, len(given)
        tokens = done["prompt"] + done["generated"]
        sums.asked += np.bincount(done["origin"], minlength=sites)
        sums.answered += np.bincount(done["origin"][served], minlength=sites)
        sums.promised += np.bincount(done["origin"][good], minlength=sites)
        sums.tokens_sum += np.bincount(done["site"][served], tokens[served], minlength=sites)
        sums.busy_sum = (
            np.bincount(world.servers["site"], world.servers["busy_s"], minlength=sites) / MINUTE_S
        )
        sums.share_sum += given * self._ground.compute

    def _series(
        self,
        minute: int,
        done: Records,
        served: Bools,
        came: int,
        world: World,
        used_missed: Floats,
        given: Floats,
    ) -> None:
        busy_s = float(world.servers["busy_s"].sum())
        ai = (busy_s - self._busy_s) / MINUTE_S / self._everything
        self._busy_s = busy_s
        used, missed = used_missed
        values = {
            "radio": used / self._everything,
            "ai": ai,
            "utilisation": used / self._everything + ai,
            "ai_work": ai,
            "share_mean": float((given * self._ground.compute).sum()) / self._everything,
            "radio_miss": missed / self._radios,
            "requests_per_s": came / MINUTE_S,
            "tokens_per_s": float((done["prompt"] + done["generated"])[served].sum()) / MINUTE_S,
            "refused_per_s": float(np.count_nonzero(~served)) / MINUTE_S,
            "in_line": float(world.cells["waiting"].sum()),
        }
        for name, value in values.items():
            self.sums.series[name][minute] = value
        if minute % LOOK_MIN == LOOK_MIN - 1:
            self.sums.ttft_p50.append(quantile(self._half_hour, 0.5))
            self.sums.ttft_p99.append(quantile(self._half_hour, 0.99))
            self._half_hour[:] = 0.0

    def closed(self, world: World) -> tally.Tally:
        """The sums, with what is still in flight."""
        open_ = np.ones(len(world.requests), np.bool_)
        open_[world.free[: world.counts[FREE]]] = False
        services = len(self._longest)
        service = world.requests["service"][open_]
        in_flight = np.bincount(service, minlength=services).astype(np.float64)
        self.sums.in_flight = in_flight
        self.sums.came = self.sums.served + self.sums.refused + in_flight
        self.hops, self.moved = int(world.counts[HOPS]), int(world.counts[MOVED])
        return self.sums

    def latencies(self) -> dict[str, Floats]:
        """(BINS,) of each measure over all services."""
        return dict(zip(MEASURES, self.counts.sum(axis=1), strict=True))

    def histograms(self) -> dict[str, Floats]:
        """As `PolicyOutcome` has them."""
        found = {}
        for s, service in enumerate(self._ground.country.services):
            ttft = rebinned(self.counts[0, s], TTFT_EDGES_MS)
            tpot = rebinned(self.counts[1, s], TPOT_EDGES_MS)
            found[f"{TTFT}:{service.name}"] = np.stack([TTFT_EDGES_MS, ttft])
            found[f"{TPOT}:{service.name}"] = np.stack([TPOT_EDGES_MS, tpot])
        return found

    def whole(self) -> dict[str, float]:
        """Tails and lines over all services."""
        line = {
            "queue_mean": float(self._line_s.sum()) / max(self._minutes * MINUTE_S, 1.0),
            "queue_max": float(self._longest.max(initial=0)),
            "moved": float(self.moved),
            "turned_away": float(self.hops),
            "in_flight": float(self.sums.in_flight.sum()),
        }
        return figures_of(self.latencies()) | line

    def by_service(self) -> dict[str, dict[str, float]]:
        """The same for each service, with how many came and kept their promises."""
        found, sums = {}, self.sums
        seconds = max(self._minutes * MINUTE_S, 1.0)
        for s, service in enumerate(self._ground.country.services):
            counts = dict(zip(MEASURES, self.counts[:, s], strict=True))
            figures = {
                "requests": float(sums.came[s]),
                "served": float(sums.served[s]),
                "refused": float(sums.refused[s]),
                "slo_attainment": float(sums.good[s] / max(sums.came[s], 1e-300)),
                "queue_mean": float(self._line_s[s]) / seconds,
                "queue_max": float(self._longest[s]),
            }
            found[service.name] = figures | figures_of(counts)
        return found
