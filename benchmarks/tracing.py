"""What traces cost a gateway: CPU a request with none, and with ever more requests traced.

The gateway and the stub upstream of `benchmarks.gateway`; the spans go to an nginx that takes them.
Turn about, so that a busy moment hits all alike. CPU time of the gateway's process is what counts:
it says the same on a busy machine, where requests a second do not.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gateway import aigrid, await_port, free_port, memory_mb, nginx, saturate, stub

SECONDS = 3
TURNS = 3
SHARES = (None, 0.0, 0.01, 0.1, 1.0)  # None: tracing is off


def name(share: float | None) -> str:
    return "off" if share is None else f"{share:.0%} traced"


def measure(port: int, pid: int) -> tuple[float, float]:
    """CPU microseconds a request, and requests a second."""
    process = psutil.Process(pid)
    before = process.cpu_times()
    rate, wrong = saturate(port, SECONDS)
    after = process.cpu_times()
    assert not wrong, f"{wrong} requests were not answered"
    spent_s = after.user + after.system - before.user - before.system
    return spent_s * 1e6 / (rate * SECONDS), rate


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as told, ExitStack() as open_now:
        folder = Path(told)
        upstream = f"http://127.0.0.1:{open_now.enter_context(stub(folder))}"
        sink = free_port()
        server = f"listen 127.0.0.1:{sink}; location / {{ return 200; }}"
        open_now.enter_context(nginx(folder, "sink", server))
        await_port(sink)
        seen: dict[float | None, list[tuple[float, float]]] = {share: [] for share in SHARES}
        memory: dict[float | None, float] = {}
        for _ in range(TURNS):
            for share in SHARES:
                endpoint = "" if share is None else f"http://127.0.0.1:{sink}"
                telemetry = {"endpoint": endpoint, "ratio": share or 0.0}
                with aigrid(folder, upstream, telemetry) as (port, pid):
                    saturate(port, 1)
                    seen[share].append(measure(port, pid))
                    memory[share] = memory_mb(pid)
    off = statistics.median(cpu for cpu, _ in seen[None])
    return [_row(share, found, off, memory[share]) for share, found in seen.items()]


def _row(
    share: float | None, found: list[tuple[float, float]], off: float, memory: float
) -> dict[str, Any]:
    cpu = statistics.median(cpu for cpu, _ in found)
    rate = statistics.median(rate for _, rate in found)
    return {
        "benchmark": "tracing",
        "figure": f"gateway, traces {name(share)}",
        "value": round(cpu),
        "unit": "us CPU a request",
        "note": f"{cpu / off:.2f} of off; {rate:.0f} requests/s; {memory:.0f} MB",
    }
