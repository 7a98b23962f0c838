"""A site as the control plane knows it beside the orchestrator, and who lets it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class SiteRecord:
    """What only the live grid knows of a site: where it answers, who it is, what it runs.

    Attributes:
        version: of aigrid; empty where it does not say.
        ending: answers under way of replicas that it was told to stop; None until it has said so.
    """

    url: str
    pid: int
    incarnation: str
    kind: str
    region: str
    parent: str
    operator: str
    version: str = ""
    ending: int | None = 0


class SiteDoor(Protocol):
    """Lets sites of other machines in; see `live.wide.door.Door`."""

    def invite(self, site: str, for_s: float) -> str:
        """A token by which one site joins once."""

    def dismiss(self, site: str) -> None:
        """Let a site's certificate count no longer."""
