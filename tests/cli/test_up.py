"""The life of a grid: start, stop, break off."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from aigrid.cli.up import curl_of
from tests.cli.conftest import spawn
from tests.tiny_model import TINY, write_tiny_recipe


def start(*arguments: object, data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "aigrid.cli.main", "up", "--port", "0", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=os.environ | {"AIGRID_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(stream: object, word: str) -> str:
    seen = ""
    for line in stream:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"{word!r} never came: {seen}")


@pytest.mark.grid
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_a_signal_and_leaves_no_orphan(
    model: Path, tmp_path: Path, number: int
) -> None:
    spawn("store", "publish", model, data=tmp_path)
    process = start("--sites", "1,0,1", data=tmp_path)
    shown = read_until(process.stdout, "Ctrl-C")
    curl = next(line for line in shown.splitlines() if line.startswith("curl "))
    answer = subprocess.run(["bash", "-c", f"{curl} -sf"], capture_output=True, text=True)
    assert '"choices"' in answer.stdout, answer.stderr
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 5, "control plane, gateway, two sites, a radio"
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not [child for child in children if child.is_running()]
    assert not (tmp_path / "run" / "grid.json").exists()
    process.communicate()


def test_ctrl_c_in_training_leaves_nothing_half_made(tmp_path: Path) -> None:
    slow = TINY["training"] | {"steps": 1_000_000}
    docs = TINY["source"] | {"kind": "python-docs", "max_mb": 1}
    recipe = write_tiny_recipe(tmp_path, training=slow, source=docs)
    process = start("--recipe", recipe, data=tmp_path / "grid")
    read_until(process.stderr, "training")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in said
    assert list((tmp_path / "grid" / "models").iterdir()) == []
    assert "[]" in spawn("store", "list", "--json", data=tmp_path / "grid").stdout


def test_detach_passes_on_why_it_failed(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)  # needs text, and `up` has none to give
    ran = spawn("up", "--detach", "--port", 0, "--recipe", recipe, data=tmp_path / "grid")
    assert ran.returncode == 2
    assert "source.kind is 'files'" in ran.stderr
    assert spawn("down", data=tmp_path / "grid").returncode == 8


@pytest.mark.grid
def test_a_killed_grid_takes_its_processes_along_and_down_clears_up(
    model: Path, tmp_path: Path
) -> None:
    spawn("store", "publish", model, data=tmp_path)
    process = start("--sites", "1,0,0", data=tmp_path)
    read_until(process.stdout, "Ctrl-C")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    stale = spawn("down", data=tmp_path)
    assert stale.returncode == 0
    assert "stale" in stale.stdout


def test_the_first_request_is_of_the_kind_that_the_model_answers() -> None:
    ready = {"model": "near", "base_url": "http://h/v1", "api_key": "sk-1", "kind": "embed"}
    curl = curl_of(ready)
    assert "http://h/v1/embeddings" in curl and '{"model": "near", "input": "Hello"}' in curl
    assert "/chat/completions" in curl_of(ready | {"kind": "chat"})
