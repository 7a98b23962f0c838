"""What a site or a gateway needs of the fabric, whatever carries it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Kind = Literal["join", "heartbeat", "leave", "unreachable", "gateway", "demand"]
KINDS: tuple[Kind, ...] = ("join", "heartbeat", "leave", "unreachable", "gateway", "demand")


class Link(Protocol):
    """One process's way to the control plane.

    Every call raises `UnavailableError` while the control plane, or what lies between, is away:
    the last orders and the last routing table stand.
    """

    async def open(self) -> None:
        """Get ready; needs nobody to answer yet."""

    async def close(self) -> None:
        """Let go."""

    async def tell(self, kind: Kind, sender: str, body: dict[str, Any]) -> dict[str, Any]:
        """Report something, and hear what is wanted now.

        Args:
            kind: of report.
            sender: the site's or gateway's name.
            body: as the control plane's `/grid/v1/KIND` takes it.

        Returns:
            for `join` and `heartbeat` the site's orders, see `live.board.Board.orders`.
        """

    async def routes(self, after: int, wait_s: float) -> dict[str, Any]:
        """The routing table, at once if it is newer than `after`, else as soon as it is.

        Returns:
            see `live.control_plane.ControlPlane.routes_after`; only `version` where nothing is new.
        """
