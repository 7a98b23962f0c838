"""A gateway's copy of the routing table, kept fresh by long polls; old is better than none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aigrid.control import admit
from aigrid.core.errors import AigridError, NotFoundError, SovereigntyError, UnavailableError
from aigrid.core.routing import RoutingTable, Track
from aigrid.core.tenancy import Place, Sovereignty
from aigrid.live.fabric.by_http import HttpLink
from aigrid.live.fabric.link import Link
from aigrid.live.health import Health
from aigrid.live.outage import Outage

LONG_POLL_S = 10.0
LOST_S = 10.0
ANYWHERE = Sovereignty()
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RouteMirror:
    """The table in force, where sites answer, and what this gateway has open at each.

    Attributes:
        control_url: the control plane.
        token: the grid's token.
        places: where each site stands.
        on_install: hears what the control plane published.
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
    places: dict[str, Place] = field(default_factory=dict)
    on_install: Callable[[dict[str, Any]], None] | None = None
    health: Health = field(default_factory=Health)
    _first: asyncio.Event = field(default_factory=asyncio.Event)
    _served: set[tuple[str, Sovereignty]] = field(default_factory=set)
    _lost_s: dict[tuple[str, Sovereignty], float] = field(default_factory=dict)
    _known: dict[tuple[str, str, Sovereignty], list[tuple[str, float]]] = field(
        default_factory=dict
    )

    def install(self, answer: dict[str, Any]) -> None:
        """Take over what the control plane published."""
        self.table = RoutingTable.from_dict(answer["table"])
        for site, url in self.urls.items():
            if answer["urls"].get(site) != url:
                self.health.forget(site)
        self.urls = answer["urls"]
        self.services = {service["name"]: service for service in answer["services"]}
        self.places = {name: Place(name, *at) for name, at in answer.get("places", {}).items()}
        self._known.clear()
        self.health.forget_versions({f"{t.service}@{t.digest}" for t in self.table.tracks})
        if self.on_install is not None:
            self.on_install(answer)
        self.version = answer["version"]  # last: what could not be read is asked for again
        self._first.set()

    async def first_table(self, within_s: float) -> None:
        """Wait until there is a table: a gateway that starts knows neither keys nor services.

        Raises:
            UnavailableError: there is none in time.
        """
        try:
            await asyncio.wait_for(self._first.wait(), within_s)
        except TimeoutError:
            raise UnavailableError(
                "this gateway has no routing table yet", next_step="try again in a moment"
            ) from None

    def tries(self, origin: str, service: str, rule: Sovereignty = ANYWHERE) -> list[str]:
        """Sites to try, in order: least loaded for its weight first; none that is left alone.

        Args:
            origin: site that the request comes from, or `*`.
            service: that it asks for.
            rule: where it may run.

        Raises:
            NotFoundError: no such service is deployed.
            SovereigntyError: the rule allows no site of this grid, or none that is to serve it.
            UnavailableError: sites serve it, but those that the rule allows do not now.
        """
        if service not in self.services:
            raise NotFoundError(
                f"model {service!r} is not deployed here",
                next_step=f"deployed: {', '.join(sorted(self.services)) or 'none'}",
            )
        return self._ordered(origin, service, rule, service)

    def beside(self, origin: str, track: Track, rule: Sovereignty = ANYWHERE) -> list[str]:
        """Sites that hold a service's second version, as `tries`; empty where none may be asked."""
        try:
            return self._ordered(origin, track.beside, rule, f"{track.service}@{track.digest}")
        except (SovereigntyError, UnavailableError):
            return []

    def _ordered(self, origin: str, service: str, rule: Sovereignty, replica: str) -> list[str]:
        pairs = self._pairs(origin, service, rule)
        held = [self.in_flight.get(site, 0) for site, _ in pairs]
        order = [pairs[i][0] for i in admit.order([w for _, w in pairs], held)]
        return self.health.admitted(order, replica)

    def _pairs(self, origin: str, service: str, rule: Sovereignty) -> list[tuple[str, float]]:
        key = (origin if origin in self.urls else "*", service, rule)
        if key not in self._known:
            found = self.table.candidates(key[0], service)
            found = [(site, weight) for site, weight in found if site in self.urls]
            if rule != ANYWHERE and found:
                found = self._within(rule, found, service)
            if not found:
                return []
            self._known[key] = found
        return self._known[key]

    def _within(
        self, rule: Sovereignty, found: list[tuple[str, float]], service: str
    ) -> list[tuple[str, float]]:
        """The candidates that a rule allows; any site that serves, where the best are none."""
        for pairs in (found, self.table.everybody(service)):
            kept = [(s, w) for s, w in pairs if s in self.urls and self._allows(rule, s)]
            if kept:
                self._lost_s.pop((service, rule), None)
                self._served.add((service, rule))
                return kept
        if any(self._allows(rule, site) for site in self.urls):
            lost_s = self._lost_s.setdefault((service, rule), time.monotonic())
            if (service, rule) in self._served and time.monotonic() - lost_s < LOST_S:
                return []  # whoever served it a moment ago comes back, or another does
            raise UnavailableError(
                f"rule {rule.name}: no site that it allows serves {service!r} now",
                next_step="try again in a moment, or ask the grid's operator to deploy it there",
            )
        raise SovereigntyError(
            f"rule {rule.name}: no site of this grid is allowed",
            next_step="see the sites with `aigrid sites`, change the rule with `aigrid tenant set`",
        )

    def _allows(self, rule: Sovereignty, site: str) -> bool:
        place = self.place(site)
        return rule.allows(place.region, place.operator)

    def place(self, site: str) -> Place:
        """Where a site stands."""
        return self.places.get(site) or Place(site, "", "")

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
