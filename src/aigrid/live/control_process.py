"""The control plane as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigrid.control import warm
from aigrid.live import server
from aigrid.live.control_api import control_app
from aigrid.live.control_plane import ControlPlane, Tokens
from aigrid.live.paths import GridPaths, read_secret


def main(raw: dict[str, Any]) -> None:
    """Run the control plane; `raw` comes from the supervisor."""
    paths = GridPaths(Path(raw["data"]))
    tokens = Tokens(read_secret(paths.operator_token), read_secret(paths.grid_token))
    folder = Path(raw["record"]) if raw.get("record") else None
    plane = ControlPlane(paths, tokens, raw["commit"], folder, raw["fabric"])
    warm.decide_once()  # a first start compiles: before anybody waits for an answer, not after
    bound = server.listen(raw["host"], raw["port"])
    server.run(server.serve(control_app(plane), bound, plane.stop_waiting))
