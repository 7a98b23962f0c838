"""What the orchestrator wants, for sites and gateways to read: the hands of the live world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aigrid.core.events import (
    AskToJoin,
    Command,
    PublishRoutes,
    SetShare,
    SiteStatusChanged,
    StartReplica,
    StopReplica,
)
from aigrid.core.routing import RoutingTable


@dataclass(slots=True)
class SiteOrders:
    """What one site shall do.

    Attributes:
        share: compute that AI may use, 0 to 1.
        replicas: digest wanted and how often it was asked for, by service; a site that failed tries
            again when it is asked again.
        join: the site shall introduce itself again.
    """

    share: float = 0.0
    replicas: dict[str, tuple[str, int]] = field(default_factory=dict)
    join: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the answer to a heartbeat."""
        replicas = {name: list(wanted) for name, wanted in self.replicas.items()}
        return {"share": self.share, "replicas": replicas, "join": self.join}


@dataclass(slots=True)
class Board:
    """Commands turned into desired state; written by the deciding thread, read by any.

    Attributes:
        on_routes: called (from the deciding thread) when a new table stands.
    """

    on_routes: Callable[[], None] = lambda: None
    routes_version: int = 0
    routes: RoutingTable = field(default_factory=RoutingTable)
    status: dict[str, str] = field(default_factory=dict)
    _orders: dict[str, SiteOrders] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Write commands on the board."""
        published = False
        with self._lock:
            for command in commands:
                self._write(command)
                published |= isinstance(command, PublishRoutes)
        if published:
            self.on_routes()

    def orders(self, site: str) -> dict[str, Any]:
        """What a site shall do now; being asked to join is said once."""
        with self._lock:
            orders = self._orders.setdefault(site, SiteOrders())
            said = orders.to_dict()
            orders.join = False
            return said

    def clear(self, site: str) -> None:
        """A site joins anew: nothing was asked of it yet."""
        with self._lock:
            self._orders[site] = SiteOrders()

    def share(self, site: str) -> float:
        """The share in force on a site."""
        with self._lock:
            return self._orders.get(site, SiteOrders()).share

    def _write(self, command: Command) -> None:
        if isinstance(command, PublishRoutes):
            self.routes_version, self.routes = command.version, command.table
            return
        if isinstance(command, SiteStatusChanged):
            self.status[command.site] = command.status
            return
        orders = self._orders.setdefault(command.site, SiteOrders())
        if isinstance(command, SetShare):
            orders.share = command.share
        elif isinstance(command, StartReplica):
            _, asked = orders.replicas.get(command.service, ("", 0))
            orders.replicas[command.service] = (command.digest, asked + 1)
        elif isinstance(command, StopReplica):
            orders.replicas.pop(command.service, None)
        elif isinstance(command, AskToJoin):
            orders.join = True
