"""Each mistake shows one line that names the value and the next step, and ends with its code."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run, spawn
from tests.tiny_model import write_tiny_recipe


def one_line(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran
    lines = ran.err.strip().splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    for word in words:
        assert word in lines[-1]
    assert "Traceback" not in ran.err


def test_broken_recipe(aigrid: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("name: x\ntraining: {steps: 10, stepz: 3}\n")
    one_line(aigrid("factory", "run", recipe), 2, "bad.yaml", "training.stepz", "known keys")


def test_recipe_that_is_nowhere(aigrid: Run) -> None:
    one_line(aigrid("factory", "run", "no-such"), 4, "no-such", "recipes/first-light.yaml")


def test_empty_folder_of_text(aigrid: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    recipe = write_tiny_recipe(tmp_path)
    ran = aigrid("factory", "run", recipe, "--data", tmp_path / "empty", "--out", tmp_path / "m")
    one_line(ran, 3, "empty")
    assert not (tmp_path / "m").exists()


def test_binary_folder(aigrid: Run, tmp_path: Path) -> None:
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "photo.jpg").write_bytes(bytes(range(256)) * 50)
    recipe = write_tiny_recipe(tmp_path)
    ran = aigrid("factory", "run", recipe, "--data", tmp_path / "binary", "--out", tmp_path / "m")
    one_line(ran, 3, "binary")
    assert [p.name for p in tmp_path.iterdir() if "making" in p.name] == []


def test_port_taken_is_told_before_the_long_work(aigrid: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_line(aigrid("up", "--port", port), 5, str(port))
    assert not (tmp_path / "grid" / "models").exists()


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_second_up_on_the_same_data(aigrid: Run, tmp_path: Path, detach: list[str]) -> None:
    from aigrid.app.grid_lock import grid_lock

    (tmp_path / "grid").mkdir()
    with grid_lock(tmp_path / "grid" / "lock"):
        ran = aigrid("up", "--port", 0, *detach)
    one_line(ran, 5, str(tmp_path / "grid"), "process", "aigrid down")


def test_sites_that_are_no_counts(aigrid: Run) -> None:
    one_line(aigrid("up", "--sites", "many"), 2, "many", "1,1,2")


@pytest.mark.parametrize(
    "command", [["status"], ["env"], ["chat", "hi"], ["deploy", "x"], ["down"]]
)
def test_no_grid_runs(aigrid: Run, tmp_path: Path, command: list[str]) -> None:
    one_line(aigrid(*command), 8, "no grid runs", str(tmp_path / "grid"))


def test_json_errors_are_json(aigrid: Run) -> None:
    ran = aigrid("status", "--json")
    assert json.loads(ran.out)["error"]["code"] == "unavailable"
    assert json.loads(ran.out)["error"]["exit_code"] == ran.code == 8


def test_unknown_option_is_one_line(aigrid: Run) -> None:
    one_line(aigrid("status", "--wach"), 2, "--wach", "aigrid status --help")


def test_a_flaw_of_ours_is_one_line_and_a_log(
    aigrid: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ZeroDivisionError("for the test")

    monkeypatch.setattr("aigrid.app.origin.code_version", fail)
    ran = aigrid("version")
    one_line(ran, 70, "ZeroDivisionError", "traceback")
    logs = list((tmp_path / "grid" / "logs").glob("crash-*.log"))
    assert len(logs) == 1
    assert "for the test" in logs[0].read_text()
    assert str(logs[0]) in ran.err


def test_tampered_layer(aigrid: Run, model: Path, tmp_path: Path) -> None:
    aigrid("store", "publish", model)
    blobs = (tmp_path / "grid" / "store" / "oci" / "blobs" / "sha256").iterdir()
    largest = max(blobs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    one_line(aigrid("store", "verify", "tiny"), 6)


def test_disk_full_while_packaging(model: Path, tmp_path: Path) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

    data = tmp_path / "grid"
    full = spawn("store", "publish", model, data=data, preexec_fn=small_files_only)
    one_line(Ran(full.returncode, full.stdout, full.stderr), 7, "store")
    listed = spawn("store", "list", "--json", data=data)
    assert json.loads(listed.stdout) == []
    assert spawn("store", "publish", model, data=data).returncode == 0


def test_a_reader_that_leaves_gets_no_complaint() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "aigrid.cli.main", "--help"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, "")
