"""A control plane with its whole API, without processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from aigrid.control import warm
from aigrid.live.control_api import control_app
from aigrid.live.control_plane import ControlPlane, Tokens
from aigrid.live.paths import GridPaths

OPERATOR, GRID = "op-test", "grid-test"


def make_plane(data: Path) -> ControlPlane:
    """It, not running yet."""
    warm.decide_once()  # as its process does: the first decision compiles
    paths = GridPaths(data)
    paths.make()
    return ControlPlane(paths, Tokens(OPERATOR, GRID))


@contextmanager
def running_plane(data: Path) -> Iterator[tuple[ControlPlane, TestClient]]:
    """Deciding, and answering whoever shows the operator's token."""
    plane = make_plane(data)
    client = TestClient(control_app(plane), raise_server_exceptions=False)
    client.headers["authorization"] = f"Bearer {OPERATOR}"
    with client:
        yield plane, client
