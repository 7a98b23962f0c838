"""A gateway's copy of the routing table, kept fresh by long polls; old is better than none."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from aigrid.control import admit
from aigrid.core.errors import AigridError, NotFoundError
from aigrid.core.routing import RoutingTable
from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.health import Health
from aigrid.live.outage import Outage

LONG_POLL_S = 10.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RouteMirror:
    """The table in force, where sites answer, and what this gateway has open at each.

    Attributes:
        control_url: the control plane.
        token: the grid's token.
        link: to the control plane; its own HTTP where None is given.
        health: which replicas are left alone.
    """

    control_url: str
    token: str
    link: Link | None = None
    version: int = -1
    table: RoutingTable = field(default_factory=RoutingTable)
    urls: dict[str, str] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    _known: dict[tuple[str, str], list[tuple[str, float]]] = field(default_factory=dict)

    def install(self, answer: dict[str, Any]) -> None:
        """Take over what the control plane published."""
        self.table = RoutingTable.from_dict(answer["table"])
        for site, url in self.urls.items():
            if answer["urls"].get(site) != url:
                self.health.forget(site)
        self.urls = answer["urls"]
        self.services = {service["name"]: service for service in answer["services"]}
        self._known.clear()
        self.version = answer["version"]  # last: what could not be read is asked for again

    def tries(self, origin: str, service: str) -> list[str]:
        """Sites to try, in order: least loaded for its weight first; none that is left alone.

        Raises:
            NotFoundError: no such service is deployed.
        """
        if service not in self.services:
            raise NotFoundError(
                f"model {service!r} is not deployed here",
                next_step=f"deployed: {', '.join(sorted(self.services)) or 'none'}",
            )
        pairs = self._pairs(origin, service)
        held = [self.in_flight.get(site, 0) for site, _ in pairs]
        order = [pairs[i][0] for i in admit.order([w for _, w in pairs], held)]
        return self.health.admitted(order, service)

    def _pairs(self, origin: str, service: str) -> list[tuple[str, float]]:
        key = (origin if origin in self.urls else "*", service)
        if key not in self._known:
            found = self.table.candidates(*key)
            self._known[key] = [(site, weight) for site, weight in found if site in self.urls]
        return self._known[key]

    @property
    def fabric(self) -> Link:
        """The link, made on first use."""
        if self.link is None:
            self.link = HttpLink(self.control_url, self.token)
        return self.link

    async def follow(self) -> None:
        """Keep polling until cancelled; while the control plane is away the old table serves."""
        away = Outage("control plane", logger)
        await self.fabric.open()
        try:
            while True:
                try:
                    answer = await self.fabric.routes(self.version, LONG_POLL_S)
                    if answer["version"] != self.version:
                        self.install(answer)
                    away.over()
                except (AigridError, KeyError, ValueError) as error:
                    away.note(error)
                    await asyncio.sleep(0.1)
        finally:
            await self.fabric.close()
