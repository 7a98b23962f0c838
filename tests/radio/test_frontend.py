import json
import os
import signal
import subprocess
import sys
import time

import pytest

from aigrid.radio.counters import RUNNING, STOPPED, RadioCounters

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _config(folder, **changes):
    values = {
        "site": "tower-1",
        "cell": {"name": "cell", "resource_blocks": 25, "deadline_ms": 5.0},
        "counters": str(folder / "radio.bin"),
        "profile": {"kind": "constant", "load": 0.1},
        "protection": "nice",
    }
    path = folder / "radio.json"
    path.write_text(json.dumps(values | changes))
    return path


def _command(config):
    return [sys.executable, "-m", "aigrid.radio.frontend", "--config", str(config)]


def _start(config, *more):
    return subprocess.Popen(
        [*_command(config), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def _until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def tower(tmp_path):
    process = _start(_config(tmp_path))
    line = process.stdout.readline()
    assert line.startswith("ready: tower-1/cell"), process.stderr.read()
    with RadioCounters.open(tmp_path / "radio.bin") as counters:
        yield process, counters
    process.kill()
    process.communicate()


def test_a_tower_counts_slots_obeys_a_surge_and_stops_on_request(tower):
    process, counters = tower
    _until(lambda: counters.read().slots_on_time > 600)
    calm = counters.read()
    assert calm.state == RUNNING
    assert calm.pid == process.pid
    assert calm.slot_ns == 1_000_000
    assert 0 < calm.need_mean <= calm.need_high
    assert calm.load < 0.5
    counters.set_load_override(1.0, time.monotonic_ns() + 60_000_000_000)
    _until(lambda: counters.read().load > 0.9)
    counters.set_load_override(float("nan"), 0)
    _until(lambda: counters.read().load < 0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    last = counters.read()
    assert last.state == STOPPED
    assert last.slots_on_time > calm.slots_on_time


def test_slots_that_pass_while_it_stands_still_are_missed(tower):
    process, counters = tower
    _until(lambda: counters.read().slots_on_time > 50)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    before = counters.read()
    time.sleep(0.3)
    process.send_signal(signal.SIGCONT)
    _until(lambda: counters.read().slots_missed >= before.slots_missed + 250)
    assert counters.read().slots_dropped >= before.slots_dropped + 250
    _until(lambda: counters.read().slots_on_time > before.slots_on_time)


def test_a_second_one_is_refused_and_counts_go_on_after_a_kill(tower, tmp_path):
    process, counters = tower
    _until(lambda: counters.read().slots_on_time > 50)
    second = _start(tmp_path / "radio.json")
    _, err = second.communicate(timeout=20)
    assert second.returncode == 5
    assert "another radio front-end" in err
    process.kill()
    process.wait()
    before = counters.read()
    successor = _start(tmp_path / "radio.json")
    try:
        _until(lambda: counters.read().pid == successor.pid)
        assert counters.read().slots_on_time >= before.slots_on_time
    finally:
        successor.terminate()
        successor.communicate(timeout=10)


def test_a_tower_ends_with_the_process_that_started_it(tmp_path):
    command = _command(_config(tmp_path))
    script = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen({command!r}, stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    with parent:
        parent.stdout.readline()
        with RadioCounters.open(tmp_path / "radio.bin") as counters:
            assert counters.read().state == RUNNING
            parent.kill()
            _until(lambda: counters.read().state == STOPPED, limit_s=5)


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [
        ({"cell": {"name": "cell", "layers": 4}}, 2, "layers is 4"),
        ({"unknown": 1}, 2, "unknown"),
        ({"counters": "/proc/none/radio.bin"}, 7, "/proc/none"),
    ],
)
def test_a_start_that_cannot_be_is_one_line_and_a_code(tmp_path, more, code, named):
    process = _start(_config(tmp_path, **more))
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert named in err
    assert len(err.splitlines()) == 1


def test_an_orphan_does_not_start(tmp_path):
    process = _start(_config(tmp_path), "--parent", "1")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert "parent process 1" in err


def test_a_cache_that_cannot_be_written_is_told_and_does_without(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    process = _start(_config(tmp_path, cache_dir=str(blocker / "cache")))
    try:
        assert process.stdout.readline().startswith("ready: ")
    finally:
        process.terminate()
    _, err = process.communicate(timeout=10)
    assert "cache_dir" in err
