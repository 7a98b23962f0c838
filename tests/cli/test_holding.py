"""`aigrid drain`: a site's last answer ends where it began."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from aigrid.live.client import ControlClient
from tests.cli.conftest import spawn
from tests.live.conftest import until

pytestmark = [pytest.mark.grid, pytest.mark.timeout(180)]
GO_ON = threading.Event()


class Slow(BaseHTTPRequestHandler):
    """A server of a model that says half of its answer, and the rest when told to."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self._say("half", None)
        GO_ON.wait(60)
        self._say(" whole", "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, text: str, finish: str | None) -> None:
        choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
        event = {"id": "c", "object": "text_completion", "created": 1, "model": "slow"}
        self.wfile.write(b"data: " + json.dumps(event | {"choices": [choice]}).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *told: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    GO_ON.set()
    server.shutdown()
    server.server_close()


@contextmanager
def begun(grid: Path) -> Iterator[Any]:
    """A stream whose first half has come."""
    client = ControlClient(grid)
    connection = http.client.HTTPConnection(urlsplit(client.base_url).netloc, timeout=60)
    headers = {"authorization": f"Bearer {client.api_key}"}
    body = {"model": "slow", "prompt": "go", "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert b"half" in response.readline()
    try:
        yield response
    finally:
        connection.close()


def site(grid: Path) -> dict[str, Any]:
    return next(row for row in ControlClient(grid).sites() if row["name"] == "factory-1")


def test_drain_returns_when_the_last_answer_has_ended(grid: Path, url: str) -> None:
    try:
        spawn("cordon", "tower-1", data=grid)  # so that one site alone serves what comes now
        made = spawn("deploy", "slow", "--upstream", url, "--allow-private", data=grid)
        assert made.returncode == 0, made.stderr
        with begun(grid) as answer:
            assert answer.getheader("x-aigrid-site") == "factory-1"
            refused = spawn("drain", "factory-1", data=grid)
            assert refused.returncode != 0 and "slow" in refused.stderr
            command = [sys.executable, "-m", "aigrid.cli.main", "--data", str(grid)]
            drain = subprocess.Popen([*command, "drain", "factory-1", "--force"])
            until(lambda: bool(site(grid)["ending"]), 60.0)
            assert site(grid)["replicas"] == []
            time.sleep(1.0)
            assert drain.poll() is None, "it does not wait for the answer"
            GO_ON.set()
            rest = answer.read()
            assert b"whole" in rest and b"error" not in rest and rest.endswith(b"[DONE]\n\n")
            assert drain.wait(30) == 0
    finally:
        for name in ("factory-1", "tower-1"):
            spawn("uncordon", name, data=grid)
        spawn("undeploy", "slow", data=grid)
        until(lambda: [one["state"] for one in site(grid)["replicas"]] == ["ready"], 60.0)
