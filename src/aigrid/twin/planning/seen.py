"""What a rehearsal saw, site by site, minute by minute: where promises were kept, and where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.network import Network
from aigrid.twin.fluid.responses import PATHS
from aigrid.twin.fluid.tally import Minute
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.solution import Solution

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seen:
    """R = K + 1 rows: the hubs and factories of a `Model`, and its towers with AI, taken together.

    Attributes:
        load: (R, M) offered over possible in each minute.
        asked: (R, S, M) requests that were served there, or lost there: nobody above took them.
        kept: (R, S, M) requests that kept what was promised.
        paths: (K, S, P) requests by the path that they came by.
        came: (S,) requests of the day, those that reached no site with a device too.
    """

    load: Floats32
    asked: Floats32
    kept: Floats32
    paths: Floats
    came: Floats

    @property
    def attained(self) -> Floats:
        """(S,) part of each service's requests that kept what was promised; 1 where none came."""
        kept = self.kept.sum(axis=(0, 2), dtype=np.float64)
        return np.where(self.came > 0.0, kept / np.maximum(self.came, 1e-300), 1.0)


class Watcher:
    """Sees every minute of a planned network's day; `seen` tells.

    Args:
        model: planned.
        found: the plan.
        network: as it is rehearsed.
        minutes: of the day.
    """

    def __init__(self, model: Model, found: Solution, network: Network, minutes: int) -> None:
        services, sites = len(model.rate), len(model.site)
        self._site = model.site
        self._towers = model.towers.row[found.tower >= 0]
        self._top = _on_top(network)
        self._load = np.zeros((sites + 1, minutes), np.float32)
        self._asked = np.zeros((sites + 1, services, minutes), np.float32)
        self._kept = np.zeros((sites + 1, services, minutes), np.float32)
        self._paths = np.zeros((sites, services, PATHS))

    def watch(self, minute: int, happened: Minute) -> None:
        """Take one minute in."""
        sites, towers = self._site, self._towers
        asked, kept = self._at(sites, happened)
        self._load[:-1, minute] = happened.load[sites]
        self._asked[:-1, :, minute], self._kept[:-1, :, minute] = asked.T, kept.T
        served = happened.served[:, sites].T
        self._paths += happened.paths[:, sites].transpose(1, 0, 2) * served[:, :, None]
        if len(towers):
            asked, kept = self._at(towers, happened)
            self._asked[-1, :, minute] = asked.sum(axis=1)
            self._kept[-1, :, minute] = kept.sum(axis=1)
            weight = asked.sum(axis=0) + 1e-9
            self._load[-1, minute] = np.average(happened.load[towers], weights=weight)

    def _at(self, rows: NDArray[np.int64], happened: Minute) -> tuple[Floats, Floats]:
        """(S, rows) requests asked there, lost ones included, and those kept as promised."""
        served = happened.served[:, rows]
        lost = np.where(self._top[rows], happened.over[:, rows], 0.0)
        return served + lost, served * happened.good[:, rows]

    def seen(self, came: Floats) -> Seen:
        """All that was seen; `came` is (S,) requests of the day."""
        return Seen(self._load, self._asked, self._kept, self._paths, came)


def _on_top(network: Network) -> NDArray[np.bool_]:
    """(N,) sites with devices that have none above them: what these refuse is lost."""
    found: NDArray[np.bool_] = network.devices > 0.0
    above = network.parent.copy()
    for _ in range(16):
        here = above >= 0
        if not here.any():
            break
        higher = network.kind[above] < network.kind
        found = found & ~(here & higher & (network.devices[above] > 0.0))
        above = np.where(here, network.parent[above], -1)
    return found
