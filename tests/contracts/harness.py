"""What the contract tests ask of a grid, simulated or real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SERVICE = "chat"
FIRST, SECOND, DAMAGED = f"{SERVICE}:1", f"{SERVICE}:2", f"{SERVICE}:3"
HUB, TOWERS = "hub-1", ("tower-1", "tower-2")
# Calm towers, whose cells can be made busy; the same sites in both worlds.
TOPOLOGY = {
    "sites": [
        {"name": HUB, "kind": "hub", "region": "JP-13", "compute_cores": 1.5, "memory_mb": 2048},
        *(
            {
                "name": name,
                "kind": "tower",
                "region": "JP-13",
                "parent": HUB,
                "compute_cores": 1.5,
                "memory_mb": 1024,
                "cells": [{"name": "cell-1", "resource_blocks": 52, "antennas": 2}],
                "profile": {"kind": "constant", "load": 0.02, "burstiness": 0.0},
            }
            for name in TOWERS
        ),
    ]
}


@dataclass(frozen=True)
class SiteView:
    """One site, as both worlds can tell: `serving` maps services to versions."""

    status: str
    share: float
    serving: dict[str, str]
    radio_load: float
    slots_missed: int


@dataclass(frozen=True)
class Answer:
    """What became of a request; `site` is empty where nobody answered, `why` says why not."""

    ok: bool
    site: str
    why: str = ""


Status = dict[str, SiteView]


class Harness(Protocol):
    """A running grid of `TOPOLOGY`, whose store holds `FIRST`, `SECOND` and `DAMAGED`."""

    def deploy(self, reference: str) -> None:
        """Want a package served. A grid may refuse a damaged one here, or at its sites."""
        ...

    def undeploy(self, service: str) -> None: ...

    def begin(self, count: int) -> Any:
        """Send requests for `SERVICE`, all at once, and go on; `finish` takes what this returns."""
        ...

    def finish(self, begun: Any) -> list[Answer]: ...

    def kill(self, site: str) -> None:
        """The site's process dies at once. Something starts it again after a while."""
        ...

    def set_radio_load(self, site: str, load: float, for_s: float) -> None: ...

    def wait_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until `reached` holds; whether it did."""
        ...

    def status(self) -> Status: ...

    def routes(self) -> dict[str, float]:
        """Weights by site, for `SERVICE` from anywhere."""
        ...

    def recording(self) -> Path:
        """Everything the orchestrator handled so far, complete."""
        ...

    def close(self) -> None: ...


def serves(grid: Harness, site: str, version: str = "1") -> bool:
    """Whether a site is up, serves this version and gets requests."""
    view = grid.status().get(site)
    return (
        view is not None
        and view.status == "up"
        and view.serving.get(SERVICE) == version
        and site in grid.routes()
    )


def everyone_serves(grid: Harness, version: str = "1") -> bool:
    """Whether all sites do."""
    return all(serves(grid, site, version) for site in (HUB, *TOWERS))
