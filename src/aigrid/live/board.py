"""What the orchestrator wants, for sites and gateways to read: the hands of the live world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aigrid.control.orders import OrderBook
from aigrid.core.events import Command, PublishRoutes, RolloutMoved, SiteStatusChanged
from aigrid.core.routing import RoutingTable


@dataclass(slots=True)
class Board:
    """Commands turned into desired state; written by the deciding thread, read by any.

    Attributes:
        on_routes: called (from the deciding thread) when a new table stands.
        on_rollout: likewise, when a rollout is in another phase.
    """

    on_routes: Callable[[], None] = lambda: None
    on_rollout: Callable[[RolloutMoved], None] = lambda moved: None
    routes_version: int = 0
    routes: RoutingTable = field(default_factory=RoutingTable)
    status: dict[str, str] = field(default_factory=dict)
    _orders: OrderBook = field(default_factory=OrderBook)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Write commands on the board."""
        published = False
        with self._lock:
            self._orders.write(commands)
            for command in commands:
                published |= self._note(command)
        if published:
            self.on_routes()
        for command in commands:
            if isinstance(command, RolloutMoved):
                self.on_rollout(command)

    def _note(self, command: Command) -> bool:
        if isinstance(command, PublishRoutes):
            self.routes_version, self.routes = command.version, command.table
        elif isinstance(command, SiteStatusChanged):
            self.status[command.site] = command.status
        return isinstance(command, PublishRoutes)

    def orders(self, site: str) -> dict[str, Any]:
        """What a site shall do now, as plain values; being asked to join is said once."""
        with self._lock:
            orders = self._orders.of(site)
            replicas = {name: list(wanted) for name, wanted in orders.replicas.items()}
            said = {
                "share": orders.share,
                "next_share": orders.next_share,
                "notice_s": orders.notice_s,
                "replicas": replicas,
                "join": orders.join,
            }
            orders.join = False
            return said

    def clear(self, site: str) -> None:
        """A site joins anew: nothing was asked of it yet."""
        with self._lock:
            self._orders.clear(site)
