"""The routing table: the contract between the control plane, which writes it, and the gateways."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANY_ORIGIN = "*"


@dataclass(frozen=True, slots=True)
class Track:
    """A second version of a service that some requests go to, see `control.rollouts`.

    Attributes:
        service: that clients ask for.
        beside: service of the table that stands for the second version.
        rollout: names the rollout.
        digest: package that stands there.
        share: of requests that go there, by lot; 0 where only answers that began there stay.
    """

    service: str
    beside: str
    rollout: str
    digest: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class RoutingTable:
    """For every (origin, service) an ordered list of candidate sites with weights.

    The first origin is `*`, for requests that name none.

    Attributes:
        origins: names of the O origins (`*`, then sites).
        services: names of the S services.
        sites: names of the N sites that `candidate` points into.
        candidate: (O, S, K) int32, row of the k-th candidate in `sites`; -1 past the last.
        weight: (O, S, K) float32, share of the load; rows sum to 1, or to 0 where nobody serves.
        tracks: services with a second version.
    """

    origins: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    candidate: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int32))
    weight: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    tracks: tuple[Track, ...] = ()
    _rows: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def candidates(self, origin: str, service: str) -> list[tuple[str, float]]:
        """Sites and weights, best first, for one origin; unknown origins are treated as `*`.

        An origin none of whose own candidates can serve, since all of them are down, gets those of
        `*`, and failing these, whoever serves. Returns an empty list where the service is unknown
        or nobody serves it.
        """
        if service not in self.services or not self.origins:
            return []
        if not self._rows:  # filled on first use: most tables are never asked
            self._rows.update({name: row for row, name in enumerate(self.origins)})
        row = self._rows.get(origin, 0)
        column = self.services.index(service)
        return self._pairs(row, column) or self._pairs(0, column) or self._anybody(column)

    def everybody(self, service: str) -> list[tuple[str, float]]:
        """Every site that some origin sends requests for a service to, with its largest weight."""
        if service not in self.services:
            return []
        column, found = self.services.index(service), dict[str, float]()
        for row in range(len(self.origins)):
            for site, weight in self._pairs(row, column):
                found[site] = max(weight, found.get(site, 0.0))
        return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))

    def track(self, service: str) -> Track | None:
        """The second version of a service, where it has one."""
        return next((track for track in self.tracks if track.service == service), None)

    def _anybody(self, column: int) -> list[tuple[str, float]]:
        rows = np.flatnonzero((self.weight[:, column] > 0.0).any(axis=1))
        return self._pairs(int(rows[0]), column) if len(rows) else []

    def _pairs(self, row: int, column: int) -> list[tuple[str, float]]:
        pairs = zip(self.candidate[row, column], self.weight[row, column], strict=True)
        return [(self.sites[int(site)], float(w)) for site, w in pairs if site >= 0 and w > 0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; weights rounded to 4 digits, as they are compared in replays."""
        plain: dict[str, Any] = {
            "origins": list(self.origins),
            "services": list(self.services),
            "sites": list(self.sites),
            "candidate": self.candidate.tolist(),
            "weight": [[[round(float(w), 4) for w in ws] for ws in s] for s in self.weight],
        }
        if self.tracks:
            plain["tracks"] = tracks_to_plain(self.tracks)
        return plain

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> RoutingTable:
        """Read `to_dict` back."""
        shape = (len(raw["origins"]), len(raw["services"]), -1)
        empty = not raw["origins"] or not raw["services"]
        return cls(
            origins=tuple(raw["origins"]),
            services=tuple(raw["services"]),
            sites=tuple(raw["sites"]),
            candidate=np.zeros((0, 0, 0), np.int32)
            if empty
            else np.asarray(raw["candidate"], np.int32).reshape(shape),
            weight=np.zeros((0, 0, 0), np.float32)
            if empty
            else np.asarray(raw["weight"], np.float32).reshape(shape),
            tracks=tracks_from_plain(raw.get("tracks", [])),
        )


def tracks_to_plain(tracks: tuple[Track, ...]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(track) for track in tracks]


def tracks_from_plain(raw: list[dict[str, Any]]) -> tuple[Track, ...]:
    """Read `tracks_to_plain` back."""
    return tuple(Track(**one) for one in raw)
