"""A region's requests as SimPy processes: the rules of `twin.region`, written a second time.

One process a request on its way, one a server; the same decisions by `control.admit`. It is what
one would write with SimPy, and what the engine's speed and results are compared with.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from aigrid.control import admit
from aigrid.twin.region.columns import NONE, World


@dataclass(slots=True, eq=False)
class Request:
    """One request, from its gateway to its end."""

    row: Any
    weight: list[float]
    first_s: float = float("nan")
    last_s: float = float("nan")
    back_s: float = 0.0
    work: float = 0.0
    site: int = NONE
    candidate: int = NONE
    ended: Any = None


@dataclass(slots=True, eq=False)
class Cell:
    """A service on a server."""

    prompt_fixed_s: float
    prompt_each_s: float
    step_fixed_s: float
    step_each_s: float
    places: int
    limit: int
    held: int = 0
    made: float = 0.0
    line: deque[Request] = field(default_factory=deque)
    ends: list[tuple[float, int, Request]] = field(default_factory=list)
    fresh: deque[tuple[float, Request]] = field(default_factory=deque)

    @property
    def step_s(self) -> float:
        return self.step_fixed_s + len(self.ends) * self.step_each_s


class Server:
    """One server as a process: prefills first, then batches that take turns."""

    def __init__(self, region: Region, cells: list[Cell], speed: float) -> None:
        self.region, self.cells, self.speed = region, cells, speed
        self.queue: deque[Request] = deque()
        self.at_s = 0.0
        self.wake = region.env.event()
        self.decodes = False
        self.process = region.env.process(self.run())

    def take(self, request: Request, cell: Cell) -> None:
        cell.held += 1
        self.queue.append(request)
        if self.decodes:
            self.process.interrupt()
            self.decodes = False
        elif not self.wake.triggered:
            self.wake.succeed()

    def run(self) -> Any:
        env = self.region.env
        while True:
            if self.queue:
                request = self.queue[0]
                yield env.timeout(request.work / self.speed)
                self.queue.popleft()
                self.join(request)
                self.at_s = env.now
            elif any(cell.ends for cell in self.cells):
                yield from self.decode()
            else:
                self.wake = env.event()
                yield self.wake

    def join(self, request: Request) -> None:
        self.region.events += 1
        cell = self.cells[request.row["service"]]
        if not cell.ends:
            cell.made = 0.0
        end = cell.made + request.row["generated"]
        self.region.ticket += 1
        heapq.heappush(cell.ends, (end, self.region.ticket, request))
        cell.fresh.append((cell.made + 1.0, request))

    def decode(self) -> Any:
        """Until the next token that counts, or until a prefill comes."""
        env = self.region.env
        active = [cell for cell in self.cells if cell.ends]
        work, cell, is_first = min(
            ((self.until(one), at) for at, one in enumerate(active)),
            key=lambda pair: (pair[0][0], pair[1]),
        )[0]
        self.at_s, self.decodes = env.now, True
        try:
            yield env.timeout(work * len(active) / self.speed)
        except simpy.Interrupt:
            self.progress(active)
            return
        self.decodes = False
        self.progress(active)
        self.region.events += 1
        if is_first:
            cell.made, request = cell.fresh.popleft()
            request.first_s = env.now + request.back_s
            return
        cell.made, _, request = heapq.heappop(cell.ends)
        cell.held -= 1
        request.ended.succeed()
        if cell.line:
            heir = cell.line.popleft()
            cell.held += 1
            self.queue.append(heir)

    def until(self, cell: Cell) -> tuple[float, Cell, bool]:
        mark, is_first = cell.ends[0][0], False
        if cell.fresh and cell.fresh[0][0] <= mark:
            mark, is_first = cell.fresh[0][0], True
        return max(mark - cell.made, 0.0) * cell.step_s, cell, is_first

    def progress(self, active: list[Cell]) -> None:
        work = (self.region.env.now - self.at_s) * self.speed / len(active)
        for cell in active:
            cell.made += work / cell.step_s
        self.at_s = self.region.env.now


class Region:
    """All servers and gateways of a world in which nobody has asked yet."""

    def __init__(self, world: World, speed: Any) -> None:
        self.env = simpy.Environment()
        self.world, self.events, self.ticket = world, 0, 0
        self.servers = [
            Server(self, [_cell(one) for one in cells], float(rate))
            for cells, rate in zip(world.cells, speed, strict=True)
        ]
        self.in_flight = np.zeros(world.routes.shape, np.int64).tolist()
        self.weights = world.routes["weight"].astype(float).tolist()
        self.ways = [[(int(w["site"]), float(w["hop_s"])) for w in row] for row in world.ways]
        self.ring = world.sessions.tolist()
        self.ring_at = np.zeros(world.stands.shape, np.int64).tolist()
        self.done: list[Request] = []

    def run(self, arrivals: Any, until_s: float) -> list[Request]:
        """Everything before `until_s`; answers the requests that have ended."""
        rows = [dict(zip(arrivals.dtype.names, row, strict=True)) for row in arrivals.tolist()]
        self.env.process(self.come(rows))
        self.env.run(until=until_s)
        return self.done

    def come(self, rows: list[dict[str, Any]]) -> Any:
        for row in rows:
            yield self.env.timeout(row["came_s"] - self.env.now)
            self.env.process(self.serve(Request(row, [])))

    def serve(self, request: Request) -> Any:
        row, env = request.row, self.env
        origin, s = row["origin"], row["service"]
        self.events += 1
        weights, open_ = self.weights[origin][s], self.in_flight[origin][s]
        named = [k for k, weight in enumerate(weights) if weight > 0.0]
        order = [
            named[i] for i in admit.order([weights[k] for k in named], [open_[k] for k in named])
        ]
        up = [k for k, w in enumerate(self.world.ways[origin]) if w["upward"] and k not in named]
        for k in order + up:
            site, hop_s = self.ways[origin][k]
            open_[k] += 1
            request.back_s = hop_s
            yield env.timeout(hop_s)
            self.events += 1
            if self.admitted(request, site):
                request.site = site
                yield request.ended
                open_[k] -= 1
                request.last_s = env.now + hop_s
                break
            open_[k] -= 1
            yield env.timeout(hop_s)
        self.done.append(request)

    def admitted(self, request: Request, site: int) -> bool:
        s = request.row["service"]
        servers = self.servers[self.world.first[site] : self.world.first[site + 1]]
        server = min(servers, key=lambda one: one.cells[s].held + len(one.cells[s].line))
        cell, share = server.cells[s], float(self.world.share[site])
        is_ready = self.world.stands[site, s]["ready_s"] <= self.env.now
        if not (is_ready and cell.places > 0):
            return False
        if admit.admit(cell.held, len(cell.line), cell.limit, share):
            return False
        prompt = request.row["prompt"] * (1.0 - self.spared(request.row, site))
        request.work = cell.prompt_fixed_s + prompt * cell.prompt_each_s
        request.ended = self.env.event()
        if cell.held < cell.places and not cell.line:
            server.take(request, cell)
        else:
            cell.line.append(request)
        return True

    def spared(self, row: dict[str, Any], site: int) -> float:
        origin, s = row["origin"], row["service"]
        ring, prefix = self.ring[origin][s], self.world.prefixes[s]
        before = ring[min(int(row["chance"] * len(ring)), len(ring) - 1)]
        at = self.ring_at[origin][s]
        ring[at] = site
        self.ring_at[origin][s] = (at + 1) % len(ring)
        is_there = before == site and row["luck"] < prefix["residency"]
        return float(prefix["spared"]) if is_there else 0.0


def _cell(cell: Any) -> Cell:
    names = ("prompt_fixed_s", "prompt_each_s", "step_fixed_s", "step_each_s", "places", "limit")
    return Cell(*(cell[name].item() for name in names))
