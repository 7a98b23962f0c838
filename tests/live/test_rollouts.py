"""Rollouts through the control plane: started, watched, steered, remembered, written down."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.live.conftest import until
from tests.live.plane import GRID, running_plane

from aigrid.app.upstream import publish_upstream
from aigrid.core.codec import to_plain
from aigrid.core.events import VersionsSeen
from aigrid.core.rollout import VersionCounts
from aigrid.core.site import Site
from aigrid.live.control_plane import ControlPlane
from aigrid.live.rollouts import cards
from aigrid.store.catalogue import PackageRecord

SITES = ("hub-1", "hub-2")
QUICK = {"share": 0.5, "min_requests": 10, "min_s": 0.0, "limit_s": 60.0}


class Grid:
    """Sites that obey at once, and one gateway that tells what it is given to tell."""

    def __init__(self, plane: ControlPlane, api: TestClient) -> None:
        self.plane, self.api = plane, api
        self.held: dict[str, dict[str, str]] = {}
        for name in SITES:
            site = to_plain(Site(name, "hub", "r", memory_mb=1024, compute_cores=2.0))
            asked = {"site": site, "url": "http://127.0.0.1:1", "pid": 1, "incarnation": name}
            self.tell("join", asked)
            self.held[name] = {}

    def tell(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {GRID}"}
        answer = self.api.post(f"/grid/v1/{kind}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def beat(self) -> None:
        for name, held in self.held.items():
            replicas = [
                {"service": service, "digest": digest, "pending": "", "state": "ready"}
                for service, digest in held.items()
            ]
            beat = {"site": name, "replicas": replicas}
            orders = self.tell("heartbeat", {"incarnation": name, "beat": beat})
            self.held[name] = {k: v[0] for k, v in orders["replicas"].items()}

    def count(self, new: VersionCounts, old: VersionCounts) -> None:
        """What a gateway saw of the rollout that is in the routing table."""
        track = self.plane.board.routes.track("chat")
        assert track is not None
        seen = VersionsSeen("chat", track.rollout, "g1", new, old)
        gateway = dict.fromkeys(("requests_total", "errors_total", "retries_total", "in_flight"), 0)
        self.tell("gateway", gateway | {"trials": [to_plain(seen)]})

    def wait(self, reached: Callable[[], bool]) -> None:
        def look() -> bool:
            self.beat()
            return reached()

        until(look, 20.0)

    def row(self) -> dict[str, Any]:
        answer = self.api.get("/control/v1/rollouts/chat")
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def start(self, version: str, **plan: float) -> dict[str, Any]:
        body = {"reference": f"chat:{version}", "plan": QUICK | plan}
        answer = self.api.post("/control/v1/rollouts", json=body)
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def deployed(self) -> str:
        return next(d.version for d in self.plane.ledger.all() if d.name == "chat")


def store(data: Path) -> None:
    for version in ("1", "2"):
        url = f"http://127.0.0.1:{version}/v1"
        publish_upstream(data / "store", f"chat:{version}", url, "m", None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store(tmp_path)
    return tmp_path


def begin(grid: Grid) -> None:
    assert grid.api.post("/control/v1/services", json={"reference": "chat:1"}).status_code == 200
    grid.wait(lambda: grid.plane.board.routes.candidates("*", "chat") != [])


def watched(grid: Grid, **plan: float) -> None:
    grid.start("2", **plan)
    grid.wait(lambda: grid.row()["phase"] == "watching")


def audited(plane: ControlPlane) -> list[str]:
    return [line["phase"] for line in plane.tenancy.audit.lines() if line["kind"] == "rollout"]


def test_a_good_version_is_promoted_remembered_and_written_down(data: Path) -> None:
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        begin(grid)
        watched(grid)
        assert all("chat@beside" in held for held in grid.held.values())
        assert "requests" in grid.row()["reason"]
        grid.count(VersionCounts(20, 0), VersionCounts(20, 0))
        grid.wait(lambda: grid.row()["phase"] == "promoted")
        row = grid.row()
        assert (row["version"], row["old_version"]) == ("2", "1")
        assert row["new"]["requests"] == row["old"]["requests"] == 20
        assert grid.deployed() == "2"
        grid.wait(lambda: grid.row()["retired"])
        assert audited(plane) == ["loading", "watching", "promoted", "retired"]
        grid.beat()  # a site hears of it with its next heartbeat
        assert {tuple(held) for held in grid.held.values()} == {("chat",)}
    with running_plane(data) as (plane, api):
        assert Grid(plane, api).deployed() == "2"
        assert api.get("/control/v1/rollouts").json()[0]["phase"] == "promoted"


def test_a_bad_version_is_rolled_back_with_its_figures(data: Path) -> None:
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        begin(grid)
        watched(grid)
        grid.count(VersionCounts(20, 20), VersionCounts(20, 0))
        grid.wait(lambda: grid.row()["phase"] == "rolled_back")
        assert "more errors" in grid.row()["reason"]
        assert grid.row()["new"]["errors"] == 20
        assert grid.deployed() == "1"


def test_a_rollout_goes_on_when_the_control_plane_begins_anew(data: Path) -> None:
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        begin(grid)
        watched(grid)
        began_at_s = grid.row()["began_at_s"]
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        grid.wait(lambda: plane.board.routes.candidates("*", "chat@beside") != [])
        assert grid.row()["began_at_s"] == began_at_s
        grid.count(VersionCounts(20, 0), VersionCounts(20, 0))
        grid.wait(lambda: grid.row()["phase"] == "promoted")


@pytest.mark.parametrize(
    ("verdict", "phase", "version"), [("promote", "promoted", "2"), ("abort", "rolled_back", "1")]
)
def test_a_person_ends_a_rollout(data: Path, verdict: str, phase: str, version: str) -> None:
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        begin(grid)
        watched(grid)
        answer = api.post(f"/control/v1/rollouts/chat/{verdict}")
        assert answer.status_code == 200
        assert (answer.json()["phase"], answer.json()["reason"]) == (phase, "by hand")
        assert grid.deployed() == version
        assert api.post(f"/control/v1/rollouts/chat/{verdict}").status_code == 404


def test_two_hands_do_not_change_one_service(data: Path) -> None:
    with running_plane(data) as (plane, api):
        grid = Grid(plane, api)
        begin(grid)
        watched(grid)
        for path, body in (
            ("/control/v1/services", {"reference": "chat:2"}),
            ("/control/v1/rollouts", {"reference": "chat:2"}),
        ):
            refused = api.post(path, json=body)
            assert refused.status_code == 409
            assert "under way" in refused.text
        assert api.delete("/control/v1/services/chat").status_code == 200
        grid.wait(lambda: grid.row()["phase"] == "rolled_back")
        assert "undeployed" in grid.row()["reason"]


def test_what_cannot_be_tried_is_refused(data: Path) -> None:
    with running_plane(data) as (plane, api):
        start = "/control/v1/rollouts"
        assert "not deployed" in api.post(start, json={"reference": "chat:2"}).text
        begin(Grid(plane, api))
        assert api.post(start, json={"reference": "chat:1"}).status_code == 409
        assert api.post(start, json={"reference": "chat:9"}).status_code == 404
        for plan in ({"share": 1.5}, {"unheard_of": 1.0}, {"min_requests": 0.5}):
            refused = api.post(start, json={"reference": "chat:2", "plan": plan})
            assert refused.status_code == 400
        assert api.get("/control/v1/rollouts/chat").status_code == 404


def package(bits: float, documents: int = 3) -> PackageRecord:
    card = {
        "measure": "bits per byte",
        "held_out": {"bits_per_byte": 9.0},
        "quantised": {"bits_per_byte": bits, "documents": documents, "bytes": 100},
    }
    return PackageRecord("m", "1", "d", "chat", 1, None, "p", time.time(), card)  # type: ignore[arg-type]


def test_cards_are_compared_where_they_measure_the_same_text() -> None:
    assert cards(package(2.1), package(2.0)) == (2.1, 2.0)
    assert cards(package(2.1), package(2.0, documents=4)) == (-1.0, -1.0)
    assert cards(package(2.1), None) == (-1.0, -1.0)
