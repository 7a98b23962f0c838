"""The orchestrator's dials: few, typed, frozen, recorded with every run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from aigrid.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Policy:
    """How the orchestrator decides.

    Attributes:
        heartbeat_timeout_s: a site silent for longer is lost.
        candidates: sites in one route, at most.
        route_period_s: routes are weighed anew no more often than this, unless a site or replica
            comes or goes, which is never delayed.
        route_damping: fraction of the old weight kept when weights move, against herding.
        route_change: smallest change of a weight worth publishing.
        route_batch_sites: in a grid of more sites than this, sites and replicas that come wait for
            the next period; those that go never do.
        route_fill: fraction of a site's compute for AI that routing counts on.
        route_reserve: fraction of an origin's load kept on candidates that are not needed.
        guard_margin: fraction of a site's compute kept free beside the radio's need.
        guard_step: a share changes at once when it must fall, and otherwise only by this or more.
        guard_rise_per_s: fastest growth of a share.
        guard_floor: a share below this is no share: AI on the site pauses.
        guard_miss_rate: fraction of slots missed since the last look that is too many.
        guard_miss_factor: a share is multiplied by this when too many were missed.
        notice_s: how far ahead a share that must fall is announced.
        demand_memory_s: time over which requests are counted as a rate.
        place_period_s: placement reckons with demand anew no more often than this.
        place_keep: a service that stands is worth more by this fraction than one that does not.
        place_horizon_s: time over which loading a service must pay for itself.
        retry_s: first pause after a failed replica start; doubles with each failure.
        retry_max_s: longest such pause.
    """

    heartbeat_timeout_s: float = 2.0
    candidates: int = 8
    route_period_s: float = 0.5
    route_damping: float = 0.5
    route_change: float = 0.02
    route_batch_sites: int = 256
    route_fill: float = 0.85
    route_reserve: float = 0.05
    guard_margin: float = 0.1
    guard_step: float = 0.05
    guard_rise_per_s: float = 0.2
    guard_floor: float = 0.05
    guard_miss_rate: float = 0.01
    guard_miss_factor: float = 0.5
    notice_s: float = 60.0
    demand_memory_s: float = 10.0
    place_period_s: float = 60.0
    place_keep: float = 0.25
    place_horizon_s: float = 3600.0
    retry_s: float = 5.0
    retry_max_s: float = 300.0

    def to_dict(self) -> dict[str, float]:
        """Plain values, for the head of a recording."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any], origin: str) -> Policy:
        """Read `to_dict` back.

        Raises:
            ConfigurationError: an unknown dial, or one that is not a number.
        """
        known = {f.name for f in fields(cls)}
        for key, value in raw.items():
            if key not in known or isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigurationError(
                    f"{origin}: policy has {key!r} = {value!r}",
                    next_step=f"known dials, all numbers: {', '.join(sorted(known))}",
                )
        whole = {f.name for f in fields(cls) if f.type == "int"}
        return cls(**{key: int(value) if key in whole else value for key, value in raw.items()})
