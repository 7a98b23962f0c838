"""The ways that requests take to sites: path bins, sessions that stay, hub links that fill up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid import paths
from aigrid.twin.fluid.flows import Several, several_of
from aigrid.twin.fluid.ground import Ground
from aigrid.twin.fluid.responses import PATH_LOOKUP, PATH_STEPS, PATHS
from aigrid.twin.models.path import link_load

Floats = NDArray[np.float64]
# A wait for hub links that changes by less changes no path.
CONGESTED_MS = 0.02


class Ways:
    """How requests come to sites under the routes in force.

    Args:
        ground: what stays.
        tokens: (S,) of a request, for the load of links.

    Attributes:
        code: (S, N) int32, the bin of the only paths to a site; else -1 less its row of `blends`.
        blends: (S,) of (N, P) float32, parts of requests by path bin: a row for each of the U sites
            above towers, then for those that are reached by several.
        target: (S, N) int32, the site that gets all of an origin's requests; -1 for several.
        several: those that have no such target, by service; none until routes are followed.
        joined: (S, U, P) float32, that of the U sites above towers, with what came up to them.
        up: (S, U, P) requests a second that came up, to be cleared each minute.
        up_bin: (N,) path bin of the way to the site above.
        stays: (S, N) float32 part of sessions that stay on a site.
        link_load_max: of the busiest hub's uplink.
    """

    def __init__(self, ground: Ground, tokens: Floats) -> None:
        count, services = len(ground.network), len(ground.country.services)
        upper = ground.levels[-1].start
        self._ground, self._tokens = ground, tokens
        self._hub = _hubs(ground)
        self._uplinks = np.unique(self._hub[self._hub >= 0])
        self._crossing, self._link_ms = np.zeros((services, count)), np.zeros(count)
        self._codes = np.zeros(ground.reach.shape, np.uint8)
        self.code = np.zeros((services, count), np.int32)
        self.blends = [np.zeros((count, PATHS), np.float32) for _ in range(services)]
        self._came = np.zeros((services, count), np.float32)
        self.target = np.full((services, count), -1, np.int32)
        self.several: dict[int, Several] = {}
        self.joined = np.zeros((services, upper, PATHS), np.float32)
        self.up = np.zeros((services, upper, PATHS))
        steps = (2.0 * ground.above_ms * PATH_STEPS).astype(np.int64)
        self.up_bin = PATH_LOOKUP[np.minimum(steps, len(PATH_LOOKUP) - 1)]
        self.stays = np.ones((services, count), np.float32)
        self.link_load_max = 0.0
        self._encode()

    def follow(
        self, s: int, weight: NDArray[np.float32], only: NDArray[np.int8], expected: Floats
    ) -> None:
        """Take new routes of a service in.

        Args:
            s: the service.
            weight: (N, K) parts that gateways send to each candidate.
            only: (N,) column of the candidate that gets all; -1 for several.
            expected: (N,) requests a second.
        """
        paths.mix(
            self._ground.reach,
            weight,
            only,
            expected,
            self._codes,
            self._hub,
            self.joined.shape[1],
            self.blends[s],
            self.code[s],
            self._came[s],
            self.stays[s],
            self._crossing[s],
            self.target[s],
            (0,) * self._ground.reach.shape[1],
            (0,) * PATHS,
        )
        self.several[s] = several_of(self.target[s], self._ground.reach, weight)

    def join(self, s: int, came: Floats) -> None:
        """Mix what came up this minute into the paths of the upper sites; came is (U,)."""
        paths.join_paths(0, len(came), came, self.up[s], self.blends[s], self.joined[s])

    def congest(self) -> None:
        """Wait for hub uplinks under the routes just made; the next ones are mixed with it."""
        path = self._ground.country.path
        rows = self._uplinks
        if not len(rows):
            return
        tokens_per_s = (self._tokens[:, None] * self._crossing[:, rows]).sum(axis=0)
        loads = link_load(path.background, tokens_per_s, path.bytes_per_token, path.hub_gbit_per_s)
        before = self._link_ms[rows]
        paths.waits(rows, loads, path.hub_gbit_per_s, self._link_ms)
        if np.abs(self._link_ms[rows] - before).max() > CONGESTED_MS:
            self._encode()
        self.link_load_max = float(loads.max())

    def _encode(self) -> None:
        ground = self._ground
        paths.encode(
            0,
            len(ground.network),
            ground.reach,
            ground.hop_ms,
            self._hub,
            self._link_ms,
            PATH_LOOKUP,
            PATH_STEPS,
            self._codes,
        )


def _hubs(ground: Ground) -> NDArray[np.int32]:
    """Row of the hub whose uplink takes a site's requests further; -1 where there is none."""
    upper, hubs = ground.levels[-1].start, ground.levels[1]
    found = np.full(len(ground.above), -1, np.int32)
    found[hubs] = np.arange(hubs.start, hubs.stop)
    above = ground.above[upper:]
    is_hub = (above >= hubs.start) & (above < hubs.stop)
    found[upper:] = np.where(is_hub, above, -1)
    return found
