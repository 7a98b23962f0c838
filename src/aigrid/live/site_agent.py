"""A site's side of the control loop: join, heartbeat, obey; and the local yield to the radio."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from aigrid.control.handover import Handover
from aigrid.core.codec import to_plain
from aigrid.core.errors import AigridError, UnavailableError
from aigrid.core.events import Heartbeat
from aigrid.core.site import Site
from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.outage import Outage
from aigrid.live.replicas import PackageSource, ReplicaSet
from aigrid.radio.counters import RadioCounters, RadioStatus
from aigrid.radio.protection import may_step

HEARTBEAT_S = 0.25
STALE_S = 0.2
logger = logging.getLogger(__name__)


class RadioBeat(NamedTuple):
    """The radio of all cells of a site together."""

    load: float
    need_cores: float
    slots_on_time: int
    slots_missed: int


@dataclass(slots=True)
class SiteAgent:
    """One site's state and its talk with the control plane.

    Attributes:
        site: who it is.
        url: where it answers.
        control_url: the control plane.
        grid_token: shared by the grid's processes.
        source: of packages.
        counters: files of the cells' radio front-ends.
        yields: whether AI yields to the radio.
        handover: when its answers go on elsewhere.
        link: to the control plane; its own HTTP where None is given.
        leaving: the process is about to end: answers shall go on elsewhere.
    """

    site: Site
    url: str
    control_url: str
    grid_token: str
    source: PackageSource
    counters: tuple[Path, ...] = ()
    yields: bool = True
    incarnation: str = field(default_factory=lambda: uuid4().hex)
    handover: Handover = field(default_factory=Handover)
    link: Link | None = None
    leaving: bool = False
    replicas: ReplicaSet = field(init=False)
    _radios: dict[Path, RadioCounters] = field(default_factory=dict)
    _held_since_s: float = 0.0
    _asked_s: float = 0.0

    def __post_init__(self) -> None:
        self.replicas = ReplicaSet(self.source, self._may_step, self.yields)
        self.handover.paused_since_s = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Talk with the control plane until left."""
        task = asyncio.create_task(self._talk())
        try:
            yield
        finally:
            task.cancel()
            await self.replicas.close()

    # -- radio ---------------------------------------------------------------------------------

    def _may_step(self) -> bool:
        """The real-time loop: AI takes its next step only while no cell is behind."""
        if not self.yields:
            return True
        statuses = self._statuses()
        now_ns = time.monotonic_ns()
        may = all(may_step(status, now_ns) for status in statuses)
        self._asked_s = now_ns / 1e9
        if may:
            self._held_since_s = 0.0
        elif not self._held_since_s:
            self._held_since_s = self._asked_s
        return may

    def _statuses(self) -> list[RadioStatus]:
        return [radio.read() for radio in self._open_radios()]

    def _open_radios(self) -> list[RadioCounters]:
        for path in self.counters:
            if path not in self._radios:
                try:
                    self._radios[path] = RadioCounters.open(path)
                except UnavailableError:
                    continue  # not started yet: the next look finds it
        return list(self._radios.values())

    def radio_beat(self) -> RadioBeat:
        """Load averaged over cells; need and slots summed. A silent front-end needs all there is.

        While a front-end is not known to work, AI gets nothing: the radio always wins.
        """
        if not self.counters:
            return RadioBeat(0.0, 0.0, 0, 0)
        statuses = self._statuses()
        now_ns = time.monotonic_ns()  # after the reading, or a slot's end in between looks stale
        silent = len(self.counters) - sum(status.is_fresh(now_ns) for status in statuses)
        need = sum(status.need_high for status in statuses) + silent * self.site.compute_cores
        return RadioBeat(
            load=sum(status.load for status in statuses) / len(self.counters),
            need_cores=need,
            slots_on_time=sum(status.slots_on_time for status in statuses),
            slots_missed=sum(status.slots_missed for status in statuses),
        )

    def override_load(self, load: float, for_s: float) -> None:
        """Make every cell run at a load for a while."""
        until_ns = time.monotonic_ns() + int(for_s * 1e9)
        for radio in self._open_radios():
            radio.set_load_override(load, until_ns)

    def leave(self) -> None:
        """The process is about to end."""
        self.leaving = True

    def must_move(self) -> str:
        """Why answers shall go on elsewhere; empty while they may stay."""
        if self.leaving:
            return f"site {self.site.name} shuts down"
        now_s = time.monotonic()
        held_s = now_s - self._held_since_s if self._held_since_s else 0.0
        if now_s - self._asked_s > STALE_S:
            held_s = 0.0  # nobody has asked since: the answer is an old one
        return self.handover.why(self.replicas.share, now_s, held_s)

    # -- control plane -------------------------------------------------------------------------

    async def _talk(self) -> None:
        """Join, then beat. While the control plane is away, the last orders stand."""
        link = self.link or HttpLink(self.control_url, self.grid_token)
        joined, away = False, Outage("control plane", logger)
        await link.open()
        try:
            while True:
                began = time.monotonic()
                try:
                    orders = await (self._beat(link) if joined else self._join(link))
                    joined = not orders["join"]
                    self._obey(orders)
                    away.over()
                except (AigridError, KeyError, ValueError) as error:
                    away.note(error)
                await asyncio.sleep(max(0.0, began + HEARTBEAT_S - time.monotonic()))
        finally:
            await link.close()

    def _obey(self, orders: dict[str, Any]) -> None:
        if orders["join"]:
            return
        if orders["share"] <= 0.0 < self.replicas.share:
            self.handover.paused_since_s = time.monotonic()
        if orders["share"] != self.replicas.share:
            self.replicas.set_share(orders["share"])
        self.handover.heed_notice(orders["next_share"], orders["notice_s"], time.monotonic())
        self.replicas.reconcile({k: (v[0], v[1]) for k, v in orders["replicas"].items()})

    async def _join(self, link: Link) -> dict[str, Any]:
        body = {
            "site": to_plain(self.site),
            "url": self.url,
            "pid": os.getpid(),
            "incarnation": self.incarnation,
            "version": version("aigrid"),
        }
        return await link.tell("join", self.site.name, body)

    async def _beat(self, link: Link) -> dict[str, Any]:
        radio = self.radio_beat()
        beat = Heartbeat(
            site=self.site.name,
            radio_load=radio.load,
            radio_need_cores=radio.need_cores,
            slots_on_time=radio.slots_on_time,
            slots_missed=radio.slots_missed,
            replicas=self.replicas.reports(),
        )
        ending = self.replicas.ending()
        body = {"incarnation": self.incarnation, "beat": to_plain(beat), "ending": ending}
        return await link.tell("heartbeat", self.site.name, body)
