"""What the orchestrator wants of each site, until the site reads it: commands as desired state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aigrid.core.events import (
    AskToJoin,
    Command,
    PublishRoutes,
    RolloutMoved,
    SetShare,
    SiteStatusChanged,
    StartReplica,
    StopReplica,
)


@dataclass(slots=True)
class SiteOrders:
    """Desired state of one site; reading it twice does no harm.

    Attributes:
        share: compute that AI may use.
        next_share: what it is forecast to fall to, see `core.events.SetShare`.
        notice_s: from now.
        replicas: by service: digest, and how often its start was asked for, so that a site that
            failed knows when to try again.
        join: the site shall introduce itself again.
    """

    share: float = 0.0
    next_share: float = 1.0
    notice_s: float = 0.0
    replicas: dict[str, tuple[str, int]] = field(default_factory=dict)
    join: bool = False


class OrderBook:
    """The orders of all sites."""

    def __init__(self) -> None:
        self._orders: dict[str, SiteOrders] = {}
        self._attempts = 0

    def of(self, site: str) -> SiteOrders:
        """What a site shall do."""
        return self._orders.setdefault(site, SiteOrders())

    def clear(self, site: str) -> None:
        """A site joins anew: nothing was asked of it yet."""
        self._orders[site] = SiteOrders()

    def write(self, commands: Sequence[Command]) -> None:
        """Turn commands into orders; those that no site reads are left to others."""
        for command in commands:
            if not isinstance(command, PublishRoutes | SiteStatusChanged | RolloutMoved):
                self._write(command)

    def _write(self, command: AskToJoin | StartReplica | StopReplica | SetShare) -> None:
        orders = self.of(command.site)
        if isinstance(command, SetShare):
            orders.share = command.share
            orders.next_share, orders.notice_s = command.next_share, command.notice_s
        elif isinstance(command, StartReplica):
            self._attempts += 1
            orders.replicas[command.service] = (command.digest, self._attempts)
        elif isinstance(command, StopReplica):
            orders.replicas.pop(command.service, None)
        else:
            orders.join = True
