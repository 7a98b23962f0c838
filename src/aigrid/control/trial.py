"""What gateways count while a new version is on trial; live and simulated ones alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from aigrid.core.events import VersionsSeen
from aigrid.core.rollout import TTFT_BUCKETS, TTFT_EDGES_MS, VersionCounts
from aigrid.core.routing import Track

# How often a gateway tells the control plane what it saw.
TELL_PERIOD_S = 1.0
TOLD_LIMIT = 64  # rollouts at once that a gateway tells of
BUSY, ERROR = 429, 400


@dataclass(slots=True)
class Trial:
    """One request of a service whose new version is on trial.

    Attributes:
        track: of its service.
        new: it goes to the new version.
        began_s: on any clock.
        first_s: on that clock, when its version made the first token; None before.
        failed: its version failed it, perhaps unseen by the client.
        gone: the last site that left it was gone, which is no version's fault.
    """

    track: Track
    new: bool
    began_s: float
    first_s: float | None = None
    failed: bool = False
    gone: bool = False

    def hear(self, package: str, now_s: float) -> None:
        """There are tokens of a package."""
        if self.first_s is None and self.new == (package == self.track.digest):
            self.first_s = now_s

    def note(self, *, second: bool, failed: bool, gone: bool) -> None:
        """A site could not answer or go on.

        Args:
            second: it was asked for the second version.
            failed: the version is to blame.
            gone: the site is.
        """
        self.gone = gone
        self.failed |= failed and self.new == second

    def is_error(self, status: str) -> bool:
        """Whether its version failed it; a client may give up waiting for either, alike."""
        if self.failed:
            return True
        if status.isdigit():
            return int(status) >= ERROR and int(status) != BUSY
        return status == "failed" or (status == "broken" and not self.gone)


@dataclass(slots=True)
class _Tally:
    """Counts of one version; see `core.rollout.VersionCounts`."""

    requests: int = 0
    errors: int = 0
    ttft: list[int] = field(default_factory=lambda: [0] * TTFT_BUCKETS)
    ttft_sum_ms: float = 0.0

    def count(self, trial: Trial, *, error: bool) -> None:
        self.requests += 1
        self.errors += error
        if trial.first_s is not None:
            ttft_ms = max(0.0, 1000.0 * (trial.first_s - trial.began_s))
            self.ttft[bisect_left(TTFT_EDGES_MS, ttft_ms)] += 1
            self.ttft_sum_ms += ttft_ms

    def counts(self) -> VersionCounts:
        return VersionCounts(self.requests, self.errors, tuple(self.ttft), self.ttft_sum_ms)


@dataclass(slots=True)
class Tallies:
    """What one gateway saw of each rollout since it heard of it.

    Attributes:
        gateway: names its process.
    """

    gateway: str
    _of: dict[str, tuple[_Tally, _Tally]] = field(default_factory=dict)

    def end(self, trial: Trial, status: str) -> None:
        """A request has ended.

        Args:
            trial: it.
            status: of HTTP, `broken`, `left` (by its client, in mid-answer) or `failed`.
        """
        new, old = self._of.setdefault(trial.track.rollout, (_Tally(), _Tally()))
        (new if trial.new else old).count(trial, error=trial.is_error(status))

    def seen(self, tracks: Iterable[Track]) -> list[VersionsSeen]:
        """All counts of the rollouts that are under way; others are dropped."""
        under_way = {track.rollout: track.service for track in tracks}
        self._of = {name: both for name, both in self._of.items() if name in under_way}
        return [
            VersionsSeen(under_way[name], name, self.gateway, new.counts(), old.counts())
            for name, (new, old) in list(self._of.items())[:TOLD_LIMIT]
        ]
