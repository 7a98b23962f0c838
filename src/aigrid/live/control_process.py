"""The control plane as a process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from aigrid.control import warm
from aigrid.live import server
from aigrid.live.control_api import control_app
from aigrid.live.control_plane import ControlPlane, Tokens
from aigrid.live.fabric import Fabric
from aigrid.live.paths import GridPaths, read_secret


def main(raw: dict[str, Any]) -> None:
    """Run the control plane; `raw` comes from the supervisor."""
    paths = GridPaths(Path(raw["data"]))
    tokens = Tokens(read_secret(paths.operator_token), read_secret(paths.grid_token))
    folder = Path(raw["record"]) if raw.get("record") else None
    database = raw.get("database", "")
    way = Fabric.read(raw["fabric"])
    plane = ControlPlane(paths, tokens, raw["commit"], folder, way, database=database)
    warm.decide_once()  # a first start compiles: before anybody waits for an answer, not after
    bound = server.listen(raw["host"], raw["port"])
    server.run(_serve(plane, bound, raw))


async def _serve(plane: ControlPlane, bound: socket.socket, raw: dict[str, Any]) -> None:
    serving = [server.serve(control_app(plane), bound, plane.stop_waiting)]
    if raw.get("advertise"):
        serving.append(_serve_door(plane, raw))
    await asyncio.gather(*serving)


async def _serve_door(plane: ControlPlane, raw: dict[str, Any]) -> None:
    """Answer sites of other machines."""
    from aigrid.live.fabric.authority import FabricAuthority
    from aigrid.live.wide.certificates import Authority, Identity
    from aigrid.live.wide.door import Door
    from aigrid.live.wide.peers import tls_server

    identity = Identity.within(plane.paths.identity("control"))
    plane.tls = identity.client()
    plane.door = Door(
        plane,
        Authority(plane.paths.authority),
        plane.kept.invitations,
        plane.store.trusted_keys,
        plane.fabric.url,
        f"https://{raw['advertise']}:{raw['door_port']}",
        FabricAuthority(plane.paths.fabric_authority) if plane.fabric.url else None,
    )
    bound = server.listen(raw["advertise"], raw["door_port"])
    web = tls_server(plane.door.app(), identity.server(everybody_shows=False))
    await web.serve(sockets=[bound])
