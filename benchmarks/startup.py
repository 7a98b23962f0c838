"""How long a person waits for `aigrid --help` and `aigrid status`.

`status` runs against a control plane's double that answers at once, so that the figure is the
command's own. A loaded machine slows everything: each figure is a median, and the best run and the
time of a bare `python -c pass` stand beside it.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

RUNS = 9
HELP_LIMIT_S = 0.3
STATUS_LIMIT_S = 0.5
STATUS: dict[str, Any] = {
    "uptime_s": 60.0,
    "routes_version": 7,
    "services": [],
    "gateway": {
        "requests_total": 0,
        "errors_total": 0,
        "retries_total": 0,
        "in_flight": 0,
        "requests_per_s": 0.0,
    },
    "sites": [
        {
            "name": f"tower-{number}",
            "kind": "tower",
            "region": "local",
            "status": "up",
            "pid": 1,
            "restarts": 0,
            "url": "",
            "share": 0.5,
            "radio": {"load": 0.5, "need_cores": 0.5, "slots_on_time": 9, "slots_missed": 0},
            "replicas": [],
            "tokens_per_s": 0.0,
            "requests_per_s": 0.0,
        }
        for number in range(4)
    ],
}


class _Control(http.server.BaseHTTPRequestHandler):
    """Answers the status above to everybody."""

    content: ClassVar[bytes] = json.dumps(STATUS).encode()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _control_plane() -> Iterator[Path]:
    """A data directory whose grid is the double."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Control)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory(prefix="aigrid-startup-") as folder:
        data = Path(folder)
        (data / "run").mkdir()
        (data / "secrets").mkdir()
        grid = {"pid": 1, "base_url": f"{url}/v1", "control_url": url}
        (data / "run" / "grid.json").write_text(json.dumps(grid))
        (data / "secrets" / "operator_token").write_text("token")
        try:
            yield data
        finally:
            server.shutdown()
            server.server_close()


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def run() -> list[dict[str, Any]]:
    """Rows of the startup benchmark."""
    python = [sys.executable, "-c", "pass"]
    aigrid = [str(Path(sys.executable).with_name("aigrid"))]
    with _control_plane() as data:
        environment = os.environ | {"AIGRID_DATA": str(data)}
        commands = {"--help": [*aigrid, "--help"], "status": [*aigrid, "status"], "python": python}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, command in commands.items():
                times[name].append(_seconds(command, environment))
    bare_s = min(times["python"])
    limits = {"--help": HELP_LIMIT_S, "status": STATUS_LIMIT_S}
    return [_row(name, times[name], limit_s, bare_s) for name, limit_s in limits.items()]


def _row(name: str, times_s: list[float], limit_s: float, bare_s: float) -> dict[str, Any]:
    middle_s = sorted(times_s)[len(times_s) // 2]
    return {
        "benchmark": "startup",
        "figure": f"aigrid {name}, median of {len(times_s)}",
        "value": round(middle_s, 3),
        "unit": "s",
        "limit": f"<= {limit_s}",
        "verdict": "won" if middle_s <= limit_s else "lost",
        "note": f"best {min(times_s):.3f} s; python alone {bare_s:.3f} s",
    }
