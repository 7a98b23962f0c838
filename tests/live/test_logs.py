"""Logs: JSON lines that nobody can break out of, without content, and never without end."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.conftest import KEY, Rig, ask, client, post
from tests.live.tracing.receiver import Receiver

from aigrid.core.errors import UnavailableError
from aigrid.core.log_line import MESSAGE_LIMIT, log_line
from aigrid.engines.scripted import Script
from aigrid.live.logs import LineHandler
from aigrid.live.tracing import Telemetry

RigMaker = Callable[..., Rig]
SECRET = "the words of a client"


class Kept(LineHandler):
    """Keeps the lines instead of writing them."""

    def __init__(self) -> None:
        super().__init__("gateway")
        self.lines: list[dict[str, Any]] = []

    def _write(self, line: str) -> None:
        assert "\n" not in line
        self.lines.append(json.loads(line))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger("aigrid")
    root.addHandler(handler)
    before, root.level = root.level, logging.DEBUG
    logging.getLogger("aigrid.live.forward").manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


@settings(max_examples=40)
@given(st.text(max_size=300), st.text(max_size=300))
def test_a_line_stays_one_line_and_says_what_was_put_in(message: str, name: str) -> None:
    line = log_line("now", "info", "gateway", "x", message, service=name)
    assert line.isprintable() and line.isascii()
    told = json.loads(line)
    assert told["message"] == message and told.get("service", "") == name


def test_a_message_is_cut() -> None:
    assert len(log_line("now", "info", "p", "x", "y" * 10**6)) < MESSAGE_LIMIT + 200


def test_lines_of_a_request_carry_its_ids_and_none_of_its_words(
    rig: RigMaker, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver().start()
    broken = Script(fail_with=UnavailableError("engine is closed"))
    running = rig(telemetry=Telemetry(receiver.url), broken=broken, good=Script())
    ids = [post(running, ask(SECRET))[1]["x-request-id"] for _ in range(4)]
    with client(running) as api:
        list(api.completions.create(model="m", prompt=SECRET, stream=True))
    lines = [line for line in kept.lines if line["source"] == "aigrid.live.forward"]
    ended = [line for line in lines if line["message"] == "request ended: 200"]
    assert {line["request_id"] for line in ended} >= set(ids)
    assert all(len(line["trace_id"]) == 32 for line in ended)
    moved = [line for line in lines if line["message"] == "request goes to another site"]
    assert moved and {line["site"] for line in moved} == {"broken"}
    written = json.dumps(kept.lines)
    assert SECRET not in written and KEY not in written
    receiver.stop()


@pytest.mark.parametrize("name", ['m\n{"level":"error"}', "m\r\nforged", "\x1b[2J", "m\u2028x"])
def test_names_with_line_ends_forge_nothing(rig: RigMaker, kept: Kept, name: str) -> None:
    running = rig(one=Script())
    body = json.dumps({"model": name, "messages": []}).encode()
    assert post(running, body)[0] == 404
    told = [line for line in kept.lines if line.get("service") == name]
    assert [line["message"] for line in told] == ["request ended: failed"]


def test_a_fault_says_where_and_not_with_which_words(kept: Kept) -> None:
    try:
        int(SECRET)
    except ValueError:
        logging.getLogger("aigrid.x").exception("the engine failed")
    (line,) = kept.lines
    assert line["error"] == "ValueError" and "test_logs.py" in line["frames"][0]
    assert SECRET not in json.dumps(line)


def test_a_flood_is_cut_and_said(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigrid.live.logs.LINES_PER_S", 5)
    made = logging.LogRecord("aigrid.x", logging.INFO, "", 0, "again", None, None)
    for second in (100, 101):
        made.created = float(second)
        for _ in range(50):
            kept.emit(made)
    told = [line["message"] for line in kept.lines]
    assert told.count("again") == 10 and "45 lines are left out here" in told


SCRIPT = """
import logging, os, subprocess, sys, warnings
from pathlib import Path
from aigrid.live import logs
path = Path(sys.argv[1])
file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.dup2(file, 1); os.dup2(file, 2)
logs.set_up("site", "info", path)
logging.getLogger().handlers[0]._limit_bytes = 4000
for number in range(100):
    logging.getLogger("aigrid.x").info("line %d of many", number)
subprocess.run(["echo", "from a library"])
raise KeyError("the words of a client")
"""


def test_a_file_turns_over_and_a_fault_ends_as_a_line(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], env=os.environ | {"PYTHONPATH": "src"}
    )
    assert done.returncode == 1
    new, old = path.read_text(), path.with_suffix(".log.1").read_text()
    assert len(new) < 6000 and len(old) < 6000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site.log", "site.log.1"]
    lines = [json.loads(line) for line in new.splitlines() if line != "from a library"]
    assert "from a library" in new
    assert lines[-1]["level"] == "critical" and lines[-1]["error"] == "KeyError"
    assert SECRET not in new + old
    times = [line["time"] for line in lines]
    assert times == sorted(times) and times[0].endswith("+00:00")
