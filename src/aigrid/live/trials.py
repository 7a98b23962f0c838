"""Which version a request gets while a new one is on trial, and what came of it.

The lot is cast once a request, from its id. What the new version cannot answer the old one does:
the client sees one answer, the count an error.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from aigrid.core.codec import to_plain
from aigrid.core.events import VersionsSeen
from aigrid.core.rollout import TTFT_BUCKETS, TTFT_EDGES_MS, VersionCounts
from aigrid.core.routing import Track
from aigrid.live.attempt import Attempt, TryNextError
from aigrid.live.route_mirror import RouteMirror

BUSY = 429
ERROR = 400
TOLD_LIMIT = 64


@dataclass(slots=True)
class Trial:
    """One request.

    Attributes:
        track: of its service.
        new: it goes to the new version.
        began_s: on the monotonic clock.
        first_s: when its version made the first token of a stream; 0 before.
        failed: its version failed it, perhaps unseen by the client.
        gone: the last site that left it was gone, which is no version's fault.
    """

    track: Track
    new: bool
    began_s: float = field(default_factory=time.monotonic)
    first_s: float = 0.0
    failed: bool = False
    gone: bool = False

    def hear(self, package: str) -> None:
        """There are tokens of a package."""
        if not self.first_s and self.new == (package == self.track.digest):
            self.first_s = time.monotonic()

    def note(self, version: str, reason: TryNextError) -> None:
        """A site, asked for a version, could not answer or go on."""
        self.gone = reason.unreachable
        self.failed |= (reason.faulty or reason.engine) and self.new == bool(version)


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
        if trial.first_s:
            ttft_ms = 1000.0 * (trial.first_s - trial.began_s)
            self.ttft[bisect_left(TTFT_EDGES_MS, ttft_ms)] += 1
            self.ttft_sum_ms += ttft_ms

    def counts(self) -> VersionCounts:
        return VersionCounts(self.requests, self.errors, tuple(self.ttft), self.ttft_sum_ms)


@dataclass(slots=True)
class Trials:
    """What one gateway process saw of each rollout since it heard of it.

    Attributes:
        gateway: names the process.
    """

    gateway: str = field(default_factory=lambda: os.urandom(8).hex())
    _tallies: dict[str, tuple[_Tally, _Tally]] = field(default_factory=dict)

    def begin(self, mirror: RouteMirror, attempt: Attempt) -> Trial | None:
        """Cast the lot; None where no version is on trial, or this request may not have it."""
        track = mirror.table.track(attempt.service) if mirror.table.tracks else None
        if track is None or track.share <= 0.0:
            return None
        if not mirror.beside(attempt.origin, track, attempt.rule):
            return None
        return Trial(track, _lot(attempt.request_id) < track.share)

    def end(self, trial: Trial, status: str) -> None:
        """A request has ended.

        Args:
            trial: that `begin` gave.
            status: of HTTP, `broken`, `left` (by its client, in mid-answer) or `failed`.
        """
        new, old = self._tallies.setdefault(trial.track.rollout, (_Tally(), _Tally()))
        (new if trial.new else old).count(trial, error=trial.failed or _is_error(trial, status))

    def reports(self, mirror: RouteMirror) -> list[dict[str, Any]]:
        """Counts of rollouts under way, as plain `VersionsSeen`; others are dropped."""
        under_way = {track.rollout: track for track in mirror.table.tracks}
        self._tallies = {name: t for name, t in self._tallies.items() if name in under_way}
        return [
            to_plain(self._seen(under_way[name], *tallies))
            for name, tallies in list(self._tallies.items())[:TOLD_LIMIT]
        ]

    def _seen(self, track: Track, new: _Tally, old: _Tally) -> VersionsSeen:
        return VersionsSeen(track.service, track.rollout, self.gateway, new.counts(), old.counts())


def ways(
    mirror: RouteMirror, attempt: Attempt, trial: Trial | None, package: str
) -> list[tuple[str, str]]:
    """Sites to try, in order, with the version to ask each for (empty: what it serves).

    Args:
        mirror: the routing table.
        attempt: the request.
        trial: its lot.
        package: whose tokens the client has already; empty for none. No other version may go on.

    Raises:
        AigridError: see `RouteMirror.tries`; not where the second version may be asked.
    """
    track = mirror.table.track(attempt.service) if mirror.table.tracks else None
    if track is None or not (package == track.digest or (trial is not None and trial.new)):
        return [(site, "") for site in mirror.tries(attempt.origin, attempt.service, attempt.rule)]
    found = [(site, track.digest) for site in mirror.beside(attempt.origin, track, attempt.rule)]
    return found + [
        (site, "") for site in mirror.tries(attempt.origin, attempt.service, attempt.rule)
    ]


def _lot(request_id: str) -> float:
    """Evenly from 0 to 1, the same for the same request."""
    return int(request_id[-12:], 16) / 16.0**12


def _is_error(trial: Trial, status: str) -> bool:
    """Whether a version failed a request: a client may give up waiting for either, alike."""
    if status.isdigit():
        return int(status) >= ERROR and int(status) != BUSY
    return status == "failed" or (status == "broken" and not trial.gone)
