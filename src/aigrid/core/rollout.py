"""Nouns of a rollout: a new version of a service on trial beside the one that is deployed."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.core.errors import ConfigurationError

# Times to first token fall into buckets whose edges grow by 2^(1/4), from 1 ms to 65 s.
TTFT_STEP = 2.0**0.25
TTFT_EDGES_MS = tuple(TTFT_STEP**k for k in range(65))
TTFT_BUCKETS = len(TTFT_EDGES_MS) + 1
# Where the second version stands: a service of its own for placement and routes.
BESIDE = "@beside"
# `loading` until a site serves the new version, `watching` until it is decided.
PHASES = ("loading", "watching", "promoted", "rolled_back")
VERDICTS = ("promote", "roll_back")


def beside(service: str) -> str:
    """The name under which a service's second version is placed and routed."""
    return service + BESIDE


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The dials of one rollout.

    Attributes:
        share: fraction of requests that go to the new version.
        min_requests: that the new version must have had, and not failed, before it is promoted.
        min_s: that it must have been watched for before it is promoted.
        limit_s: from the start; what cannot be judged by then is rolled back.
        margin: errors may be more frequent, and first tokens later, by this fraction.
        card_margin: the measure on the card may be worse by this fraction.
        significance: of all tests of the rollout together; the probability that a version as good
            as the old one is ever found to be worse.
        keep_s: the losing version stands for its open answers for so long at most.
    """

    share: float = 0.1
    min_requests: int = 100
    min_s: float = 60.0
    limit_s: float = 3600.0
    margin: float = 0.1
    card_margin: float = 0.02
    significance: float = 0.02
    keep_s: float = 900.0

    def __post_init__(self) -> None:
        within = {
            "share": 0.0 < self.share < 1.0,
            "min_requests": 1 <= self.min_requests <= 1_000_000_000,
            "min_s": 0.0 <= self.min_s <= self.limit_s,
            "limit_s": 0.0 < self.limit_s <= 30 * 86400.0,
            "margin": 0.0 <= self.margin <= 10.0,
            "card_margin": 0.0 <= self.card_margin <= 10.0,
            "significance": 0.0 < self.significance < 1.0,
            "keep_s": 0.0 <= self.keep_s <= 86400.0,
        }
        for name, holds in within.items():
            if not holds:
                raise ConfigurationError(
                    f"rollout: {name} = {getattr(self, name)!r} cannot be",
                    next_step="a share and a significance lie between 0 and 1, times follow "
                    "0 <= min_s <= limit_s",
                )


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """What became of the requests that went to one version; adds up since the rollout began.

    Attributes:
        requests: that ended.
        errors: of these, how many it failed: an error status, a site that failed as no healthy
            one does, or an answer that broke off. A site that is gone, or full, is no error of it.
        ttft: streamed answers by time to first token, `TTFT_BUCKETS` long; empty for none.
        ttft_sum_ms: sum of these times.
    """

    requests: int = 0
    errors: int = 0
    ttft: tuple[int, ...] = ()
    ttft_sum_ms: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.requests, self.errors, *self.ttft)
        whole = len(self.ttft) in (0, TTFT_BUCKETS) and self.ttft_sum_ms >= 0.0
        if not whole or min(counts) < 0 or self.errors > self.requests:
            raise ConfigurationError(
                f"counts of a version: {self.requests} requests, {self.errors} errors,"
                f" {len(self.ttft)} buckets cannot be"
            )

    def __add__(self, other: VersionCounts) -> VersionCounts:
        """Counts of several gateways together."""
        ttft = self.ttft or other.ttft
        if self.ttft and other.ttft:
            ttft = tuple(a + b for a, b in zip(self.ttft, other.ttft, strict=True))
        return VersionCounts(
            self.requests + other.requests,
            self.errors + other.errors,
            ttft,
            self.ttft_sum_ms + other.ttft_sum_ms,
        )
