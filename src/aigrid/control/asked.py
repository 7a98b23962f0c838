"""What a gateway counts between two reports of demand; live and simulated ones alike."""

from __future__ import annotations

from aigrid.core.events import DEMAND_ROWS_LIMIT, DemandRow, DemandSeen

# How often a gateway tells the control plane what it was asked for.
DEMAND_PERIOD_S = 2.0


class Asked:
    """Counts requests by origin and service, while there is room for another kind of asking."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def count(self, origin: str, service: str) -> None:
        """One request."""
        key = (origin, service)
        if key in self._counts or len(self._counts) < DEMAND_ROWS_LIMIT:
            self._counts[key] = self._counts.get(key, 0) + 1

    def take(self) -> DemandSeen | None:
        """What was asked for since the last time; None for nothing."""
        if not self._counts:
            return None
        rows = tuple(DemandRow(*key, requests) for key, requests in self._counts.items())
        self._counts = {}
        return DemandSeen(rows)
