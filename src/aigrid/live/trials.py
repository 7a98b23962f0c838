"""Which version a request gets while a new one is on trial, and in which order sites are asked.

The lot is cast once a request, from its id. What the new version cannot answer the old one does:
the client sees one answer, the count an error.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from aigrid.control.trial import Tallies, Trial
from aigrid.core.codec import to_plain
from aigrid.live.attempt import Attempt, TryNextError
from aigrid.live.route_mirror import RouteMirror


@dataclass(slots=True)
class Trials:
    """Casts lots, and counts what came of them, for one gateway process."""

    tallies: Tallies = field(default_factory=lambda: Tallies(os.urandom(8).hex()))

    def begin(self, mirror: RouteMirror, attempt: Attempt) -> Trial | None:
        """Cast the lot; None where no version is on trial, or this request may not have it."""
        track = mirror.table.track(attempt.service) if mirror.table.tracks else None
        if track is None or track.share <= 0.0:
            return None
        if not mirror.beside(attempt.origin, track, attempt.rule):
            return None
        return Trial(track, _lot(attempt.request_id) < track.share, time.monotonic())

    def end(self, trial: Trial, status: str) -> None:
        """A request has ended, see `control.trial.Tallies.end`."""
        self.tallies.end(trial, status)

    def reports(self, mirror: RouteMirror) -> list[dict[str, Any]]:
        """Counts of rollouts under way, as plain `VersionsSeen`."""
        return [to_plain(seen) for seen in self.tallies.seen(mirror.table.tracks)]


def note(trial: Trial, version: str, reason: TryNextError) -> None:
    """A site, asked for a version, could not answer or go on."""
    failed = reason.faulty or reason.engine
    trial.note(second=bool(version), failed=failed, gone=reason.unreachable)


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
        AigridError: see `RouteMirror.tries`.
    """
    first: list[tuple[str, str]] = []
    track = mirror.table.track(attempt.service) if mirror.table.tracks else None
    if track is not None and (package == track.digest or (trial is not None and trial.new)):
        sites = mirror.beside(attempt.origin, track, attempt.rule)
        first = [(site, track.digest) for site in sites]
    return first + [
        (site, "") for site in mirror.tries(attempt.origin, attempt.service, attempt.rule)
    ]


def _lot(request_id: str) -> float:
    """Evenly from 0 to 1, the same for the same request."""
    return int(request_id[-12:], 16) / 16.0**12
