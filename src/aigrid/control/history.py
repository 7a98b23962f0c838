"""What the orchestrator learns from day to day: the radio's need a site, demand a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aigrid.control import demand, forecast
from aigrid.control.forecast import DailyProfile
from aigrid.core.state import FloatColumn, GridState

LEARN_PERIOD_S = 60.0
LEARN_RATE = 0.05
# Standard deviations above what is likely: a notice given in vain costs little, a late one a job.
NOTICE_Z = 2.33


@dataclass(slots=True)
class History:
    """Profiles by time of day; the day begins when the clock of the events says so.

    Attributes:
        radio: (sites, bins) need, in cores.
        demand: (services, bins) requests a second.
        learned_s: when it last learned.
    """

    radio: DailyProfile = field(default_factory=lambda: forecast.empty(0))
    demand: DailyProfile = field(default_factory=lambda: forecast.empty(0))
    learned_s: float = -1e18

    def learn(self, now_s: float, state: GridState) -> None:
        """Take in the present, once a minute."""
        if now_s - self.learned_s < LEARN_PERIOD_S:
            return
        self.learned_s = now_s
        self.radio = _wide_enough(self.radio, state.site_count)
        self.demand = _wide_enough(self.demand, state.service_count)
        need = state.sites.radio_need_cores[: len(self.radio.mean)]
        asked = _padded(demand.total(state), len(self.demand.mean))
        forecast.learn(self.radio, now_s / 60.0, _padded(need, len(self.radio.mean)), LEARN_RATE)
        forecast.learn(self.demand, now_s / 60.0, asked, LEARN_RATE)

    def radio_ahead(self, now_s: float, ahead_s: float, row: int, need: float) -> float:
        """Need of one site's radio to reckon with, `ahead_s` from now, in cores."""
        if row >= len(self.radio.mean):
            return need
        one = slice(row, row + 1)
        profile = DailyProfile(self.radio.mean[one], self.radio.spread[one], self.radio.seen)
        value = np.array([need])
        return float(forecast.ahead(profile, now_s / 60.0, ahead_s / 60.0, value, NOTICE_Z)[0])

    def growth(self, now_s: float, ahead_s: float, state: GridState) -> FloatColumn:
        """Demand `ahead_s` from now over the present one, a service: (services,)."""
        now = demand.total(state)
        known = min(len(now), len(self.demand.mean))
        mean, spread, seen = self.demand
        profile = DailyProfile(mean[:known], spread[:known], seen)
        then = forecast.demand_ahead(profile, now_s / 60.0, ahead_s / 60.0, now[:known])
        ratio = np.ones(len(now))
        np.divide(then, now[:known], out=ratio[:known], where=now[:known] > 0.0)
        return ratio

    def to_plain(self) -> dict[str, Any]:
        """For a snapshot: bins that know something only; None where a row knows nothing."""
        profiles = {"radio": _plain(self.radio), "demand": _plain(self.demand)}
        return {"learned_s": self.learned_s, **profiles}

    @classmethod
    def from_plain(cls, raw: Any) -> History:
        """Read `to_plain` back.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or does not fit the rest.
        """
        return cls(_profile(raw["radio"]), _profile(raw["demand"]), float(raw["learned_s"]))


def _wide_enough(profile: DailyProfile, rows: int) -> DailyProfile:
    have = len(profile.mean)
    return profile if rows <= have else forecast.grown(profile, max(rows, 2 * have))


def _padded(values: FloatColumn, rows: int) -> FloatColumn:
    wide = np.zeros(rows)
    wide[: len(values)] = values
    return wide


def _plain(profile: DailyProfile) -> dict[str, Any]:
    known = np.flatnonzero(profile.seen)
    return {
        "rows": len(profile.mean),
        "bins": known.tolist(),
        "seen": profile.seen[known].tolist(),
        "mean": [_spelt(profile.mean[:, at]) for at in known],
        "spread": [_spelt(profile.spread[:, at]) for at in known],
    }


def _spelt(column: forecast.Bins) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in column]


def _profile(raw: Any) -> DailyProfile:
    profile = forecast.empty(int(raw["rows"]))
    bins = zip(raw["bins"], raw["seen"], raw["mean"], raw["spread"], strict=True)
    for at, seen, mean, spread in bins:
        if not 0 <= int(at) < len(profile.seen):
            raise ValueError(f"bin {at!r} of a daily profile")
        profile.seen[int(at)] = float(seen)
        profile.mean[:, int(at)] = [np.nan if value is None else value for value in mean]
        profile.spread[:, int(at)] = spread
    return profile
