"""The live world feeds events to the orchestrator and puts its commands on the board."""

import threading
from pathlib import Path

import pytest

from aigrid.control.orchestrator import Orchestrator
from aigrid.control.world import Timed, drive
from aigrid.core.events import Heartbeat, ReplicaReport, ServiceDeployed, SiteJoined
from aigrid.core.site import Site
from aigrid.live.board import Board
from aigrid.live.recorder import Recorder
from aigrid.live.world import LiveWorld
from aigrid.twin.replay import replay


def test_events_are_decided_in_order_and_a_recording_replays(tmp_path: Path) -> None:
    clock = iter(range(10_000))
    board = Board()
    world = LiveWorld(board, lambda: next(clock) * 0.01)
    orchestrator = Orchestrator()
    recorder = Recorder(tmp_path, orchestrator, "")
    recorder.begin()
    thread = threading.Thread(target=drive, args=(orchestrator, world, recorder), daemon=True)
    thread.start()
    decided = threading.Event()
    world.post(SiteJoined(Site("hub-1", "hub", "r")))
    world.post(ServiceDeployed("m", "sha256:1", memory_mb=100))
    ready = ReplicaReport("m", "sha256:1", "", "ready")
    world.post(Heartbeat("hub-1", replicas=(ready,)), decided.set)
    assert decided.wait(5)
    assert board.orders("hub-1")["replicas"] == {"m": ["sha256:1", 1]}
    assert board.routes.candidates("*", "m") == [("hub-1", 1.0)]
    world.end()
    thread.join(5)
    recorder.close()
    again = replay(recorder.path)
    assert again.identical, again.first_difference
    assert again.events >= 3


def test_heartbeat_of_a_stranger_is_answered_with_a_request_to_join() -> None:
    board = Board()
    board.carry_out(Orchestrator().handle(0.0, Heartbeat("who")))
    assert board.orders("who")["join"] is True
    assert board.orders("who")["join"] is False


def test_recording_rotates_and_every_file_replays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aigrid.live.recorder.FILE_LIMIT_BYTES", 4000)
    numbers = iter(range(1, 100))
    monkeypatch.setattr("aigrid.live.paths.time.time_ns", lambda: next(numbers) * 1_000_000)
    orchestrator = Orchestrator()
    recorder = Recorder(tmp_path, orchestrator, "")
    recorder.begin()
    for step in range(40):
        event = SiteJoined(Site(f"hub-{step % 4}", "hub", "r")) if step < 8 else None
        timed = Timed(float(step), event or Heartbeat(f"hub-{step % 4}"))
        recorder(timed, orchestrator.handle(*timed))
    recorder.close()
    files = sorted(tmp_path.glob("events-*.jsonl"))
    assert 2 <= len(files) <= 4
    assert all(replay(path).identical for path in files)
