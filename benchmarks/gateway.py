"""The gateway against what people put in front of models today, before one stub upstream.

Peers in the same run, one worker each, on the same cores: a bare Starlette pass-through, nginx as a
reverse proxy (the floor), and LiteLLM's proxy where one is installed (`AIGRID_LITELLM` names its
`litellm` command; its own virtual environment, since it pins much). The stub is nginx with a fixed
answer. Saturation is wrk's requests per second over 32 connections; added latency is measured by an
open loop at half of each one's saturation, minus the stub's own at the same rate, from a process of
its own. Our gateway checks a key of a tenant that has every kind of quota, and meters.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SECONDS = 6
CONNECTIONS = 32
KEY = "sk-benchmark"
PATH = "/v1/chat/completions"
BODY = {"model": "stub", "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "stub",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello, how can I help?"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16},
}
LONG_PROMPT_BYTES = 220 * 1024
IDLE_STREAMS = 5000
TURN_S = 2.0
LEAST_TIMES_LITELLM = 25.0
Row = dict[str, Any]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def stream_body() -> str:
    def event(delta: dict[str, str], finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        head = {k: ANSWER[k] for k in ("id", "created", "model")}
        told = head | {"object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(told)}\n\n"

    words = [event({"content": f" {word}"}, None) for word in ("Hello", "how", "can", "I", "help")]
    return "".join([*words, event({}, "stop"), "data: [DONE]\n\n"])


@contextmanager
def nginx(folder: Path, name: str, server: str, extra: str = "") -> Iterator[int]:
    """An nginx with one worker and one server block; its process id."""
    text = f"""
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; client_max_body_size 8m;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u;
  scgi_temp_path {folder}/{name}-s;
  {extra}
  server {{ {server} }} }}
"""
    config = folder / f"{name}.conf"
    config.write_text(text)
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)])
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def stub(folder: Path) -> Iterator[int]:
    """The upstream: fixed answers, whole or streamed (by path); its port."""
    port = free_port()
    (folder / "whole.json").write_text(json.dumps(ANSWER))
    (folder / "stream.txt").write_text(stream_body())
    whole = json.dumps(ANSWER).replace("'", "")
    stream = stream_body().replace("\n", "\\n").replace('"', '\\"')
    server = f"""listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{whole}'; }}
    location /stream/ {{ default_type text/event-stream; return 200 "{stream}"; }}"""
    with nginx(folder, "stub", server):
        await_port(port)
        yield port


def await_port(port: int, limit_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"port {port} does not answer")


@contextmanager
def process(command: list[str], port: int, log: Path, **environment: str) -> Iterator[int]:
    with log.open("wb") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **environment}
        )
    try:
        await_port(port)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def control(upstream: str) -> Iterator[str]:
    """A control plane that knows one site: the stub."""
    table = {"origins": ["*"], "services": ["stub"], "sites": ["site-1"]}
    service = {"name": "stub", "version": "1", "digest": "sha256:0", "deployed_at_s": 0.0}
    price = {"currency": "USD", "input_micro": 1, "output_micro": 2}
    quota = {"requests_per_min": 10**9, "tokens_per_min": 10**12, "streams": 10**6}
    tenant = {"name": "tenant-1", "quota": quota | {"budget_micro": 10**15}}
    key = {"id": "key-1", "tenant": "tenant-1", "role": "consumer"}
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    told = {
        "version": 1,
        "table": table | {"candidate": [[[0]]], "weight": [[[1.0]]]},
        "urls": {"site-1": upstream},
        "services": [service | {"kind": "chat", "engine": "embedded", "price": price}],
        "tenancy": {"revision": 1, "tenants": [tenant], "keys": [key | {"digest": digest}]},
    }

    async def routes(request: Request) -> Response:
        if request.query_params["after"] == "1":
            await asyncio.sleep(10)
            return JSONResponse({"version": 1})
        return JSONResponse(told)

    async def note(request: Request) -> Response:
        if request.path_params["k"] != "usage":
            await request.body()
            return JSONResponse({})
        heard = len((await request.body()).split(b'"specversion"')) - 1
        return JSONResponse({"acked": heard, "gateways": 1, "headroom": {}})

    app = Starlette(
        routes=[Route("/grid/v1/routes", routes), Route("/grid/v1/{k}", note, methods=["POST"])]
    )
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    await_port(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(5)


@contextmanager
def aigrid(
    folder: Path, upstream: str, telemetry: dict[str, Any] | None = None
) -> Iterator[tuple[int, int]]:
    """Our gateway as the supervisor starts it; port and process id."""
    port, data = free_port(), folder / "data"
    (data / "gateway").mkdir(parents=True, exist_ok=True)
    with control(upstream) as control_url:
        config = {
            "host": "127.0.0.1",
            "port": port,
            "control_url": control_url,
            "grid_token": "grid",
            "key_digests": [hashlib.sha256(KEY.encode()).hexdigest()],
            "data": str(data),
            "record": "",
            "fabric": "",
            "wide": False,
            "telemetry": telemetry or {},
            "parent": os.getpid(),
        }
        path = folder / "gateway.json"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "aigrid.live.process", "gateway", str(path)]
        with process(command, port, folder / "gateway.log") as pid:
            time.sleep(1.0)
            yield port, pid


PASS_THROUGH = """
import sys, aiohttp, contextlib, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
session = None
@contextlib.asynccontextmanager
async def life(app):
    global session
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield
async def passing(request):
    body = await request.body()
    async with session.post(sys.argv[2] + request.url.path, data=body) as answer:
        return Response(await answer.read(), media_type=answer.content_type)
app = Starlette(routes=[Route("/v1/chat/completions", passing, methods=["POST"])], lifespan=life)
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False,
            log_level="warning")
"""


@contextmanager
def starlette(folder: Path, upstream: str) -> Iterator[tuple[int, int]]:
    port, path = free_port(), folder / "passing.py"
    path.write_text(PASS_THROUGH)
    command = [sys.executable, str(path), str(port), upstream]
    with process(command, port, folder / "passing.log") as pid:
        yield port, pid


@contextmanager
def reverse(folder: Path, upstream: str) -> Iterator[tuple[int, int]]:
    port, host = free_port(), upstream.removeprefix("http://").partition("/")[0]
    extra = f"upstream site {{ server {host}; keepalive 64; }}"
    server = f"""listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://site;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on; }}"""
    with nginx(folder, f"reverse-{port}", server, extra) as pid:
        await_port(port)
        yield port, pid


@contextmanager
def litellm(folder: Path, upstream: str, body: bytes | None = None) -> Iterator[tuple[int, int]]:
    """LiteLLM's proxy, once it has answered: an upstream that fails first is left alone by it."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: stub\n    litellm_params:\n"
        f"      model: openai/stub\n      api_base: {upstream}/v1\n      api_key: none\n"
        f"general_settings:\n  master_key: {KEY}\n"
    )
    command = [os.environ["AIGRID_LITELLM"], "--config", str(config), "--port", str(port)]
    with process([*command, "--num_workers", "1"], port, folder / "litellm.log") as pid:
        deadline_s = time.monotonic() + 90
        while time.monotonic() < deadline_s and saturate(port, 1, body)[0] <= 0.0:
            time.sleep(1.0)
        yield port, pid


def saturate(port: int, seconds: int, body: bytes | None = None) -> tuple[float, int]:
    """Requests per second by wrk over 32 connections, and how many were not answered with 200."""
    told = (body or json.dumps(BODY).encode()).decode()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f"wrk.method='POST'\nwrk.body=[==[{told}]==]\n"
            "wrk.headers['Content-Type']='application/json'\n"
            f"wrk.headers['Authorization']='Bearer {KEY}'\n"
            "done=function(s,l,r) io.write(string.format('R %d %d %d\\n', s.requests,"
            " s.duration, s.errors.status+s.errors.read+s.errors.connect+s.errors.timeout)) end\n"
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script.name]
        url = f"http://127.0.0.1:{port}{PATH}"
        said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    found = next(line.split() for line in said.splitlines() if line.startswith("R "))
    requests, microseconds, wrong = (int(figure) for figure in found[1:])
    return (requests - wrong) / (microseconds / 1e6), wrong


def open_loop(port: int, rate: float, seconds: float, body: bytes) -> list[float]:
    """Latencies in ms of requests that start at a fixed rate, sorted."""
    arguments = [str(port), str(rate), str(seconds), PATH, KEY]
    command = [sys.executable, "-m", "benchmarks._open_loop", *arguments]
    said = subprocess.run(command, input=body, capture_output=True, check=True).stdout
    found = json.loads(said)
    assert not found["bad"] and not found["lost"], found
    taken: list[float] = found["taken_ms"]
    return taken


def quantile(taken: list[float], q: float) -> float:
    return taken[min(len(taken) - 1, int(q * len(taken)))]


def added(port: int, stub_port: int, rate: float, body: bytes) -> tuple[float, float]:
    """Added p50 and p99 in ms at a rate; medians over three turns with the stub."""
    halves: list[list[float]] = [[], []]
    for _ in range(3):
        far = open_loop(port, rate, TURN_S, body)
        near = open_loop(stub_port, rate, TURN_S, body)
        for place, q in enumerate((0.5, 0.99)):
            halves[place].append(quantile(far, q) - quantile(near, q))
    return statistics.median(halves[0]), statistics.median(halves[1])


def memory_mb(pid: int) -> float:
    one = psutil.Process(pid)
    every = [one, *one.children(recursive=True)]
    return sum(part.memory_info().rss for part in every) / 1e6


def row(
    figure: str, value: float, unit: str, limit: str = "", verdict: str = "", note: str = ""
) -> Row:
    told = {"figure": figure, "value": round(value, 2), "unit": unit, "limit": limit}
    return {"benchmark": "gateway"} | told | {"verdict": verdict, "note": note}


def peers(folder: Path, upstream: str, body: bytes | None = None) -> dict[str, Any]:
    found = {
        "aigrid": aigrid(folder, upstream),
        "starlette": starlette(folder, upstream),
        "nginx": reverse(folder, upstream),
    }
    if os.environ.get("AIGRID_LITELLM"):
        found["litellm"] = litellm(folder, upstream, body)
    return found


def compare(folder: Path, stub_port: int) -> list[Row]:
    rows, rates = [], {}
    body = json.dumps(BODY).encode()
    for name, opened in peers(folder, f"http://127.0.0.1:{stub_port}").items():
        with opened as (port, pid):
            saturate(port, 1)
            rates[name], wrong = saturate(port, SECONDS)
            rows.append(
                row(f"{name}: whole answers", rates[name], "requests/s", note=f"{wrong} bad")
            )
            if name != "nginx":
                half = rates[name] / 2
                p50, p99 = added(port, stub_port, half, body)
                limits = ("<= 2", "<= 10") if name == "aigrid" else ("", "")
                for figure, value, limit in (("p50", p50, limits[0]), ("p99", p99, limits[1])):
                    kept = "" if not limit else "pass" if value <= float(limit[3:]) else "lost"
                    text = f"{name}: added {figure} at half load"
                    rows.append(row(text, value, "ms", limit, kept, f"{half:.0f} requests/s"))
            rows.append(row(f"{name}: memory", memory_mb(pid), "MB"))
            if name == "aigrid":
                rows.append(long_prompt(port, stub_port))
    floor = rates["aigrid"] / rates["nginx"]
    rows.append(row("aigrid / nginx (the floor)", floor, "of requests/s"))
    rows.append(row("aigrid / starlette", rates["aigrid"] / rates["starlette"], "of requests/s"))
    if "litellm" in rates:
        times = rates["aigrid"] / rates["litellm"]
        verdict = "pass" if times >= LEAST_TIMES_LITELLM else "lost"
        rows.append(row("aigrid / litellm", times, "times", ">= 25", verdict))
    else:
        rows.append(row("aigrid / litellm", 0.0, "times", note="not run: set AIGRID_LITELLM"))
    return rows


def long_prompt(port: int, stub_port: int) -> Row:
    """What 220 KB of prompt cost at the gateway, over what they cost at the stub."""
    body = json.dumps(
        BODY | {"messages": [{"role": "user", "content": "word " * (LONG_PROMPT_BYTES // 5)}]}
    ).encode()
    cost, _ = added(port, stub_port, 10.0, body)
    return row("aigrid: added p50, 220 KB", cost, "ms", "< 20", "pass" if cost < 20 else "lost")


def streamed(folder: Path, stub_port: int) -> list[Row]:
    rows, rates = [], {}
    upstream = f"http://127.0.0.1:{stub_port}/stream"
    body = json.dumps(BODY | {"stream": True}).encode()
    for name, opened in peers(folder, upstream, body).items():
        if name == "nginx":
            continue
        with opened as (port, _):
            saturate(port, 1, body)
            rates[name], wrong = saturate(port, SECONDS, body)
            text = f"{name}: streams of 5 events"
            rows.append(row(text, rates[name], "requests/s", note=f"{wrong} bad"))
            if not rates[name]:
                continue
            p50, p99 = added(port, stub_port, rates[name] / 2, body)
            for figure, value, limit in (("p50", p50, 2.0), ("p99", p99, 10.0)):
                ours = name == "aigrid"
                verdict = "" if not ours else "pass" if value <= limit else "lost"
                text = f"{name}: streams, added {figure} at half load"
                rows.append(row(text, value, "ms", f"<= {limit:.0f}" if ours else "", verdict))
    if rates.get("litellm"):
        times = rates["aigrid"] / rates["litellm"]
        verdict = "pass" if times >= LEAST_TIMES_LITELLM else "lost"
        rows.append(row("aigrid / litellm, streams", times, "times", ">= 25", verdict))
    return rows


async def _idle_site(port: int, stop: asyncio.Event) -> None:
    """Begins every answer, and then only says that it is alive."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            first = stream_body().partition("\n\n")[0]
            head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            writer.write(f"{head}{first}\n\n".encode())
            while not stop.is_set():
                await writer.drain()
                await asyncio.sleep(0.75)
                writer.write(b": alive\n\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096):
        await stop.wait()


async def _hold(port: int) -> int:
    """Open streams and hold them; how many had begun when asked."""
    body = json.dumps(BODY | {"stream": True})
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    begun = 0

    async def one() -> asyncio.StreamWriter:
        nonlocal begun
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        said = await reader.readuntil(b"data: ")
        begun += said.startswith(b"HTTP/1.1 200")
        return writer

    held = []
    for _ in range(0, IDLE_STREAMS, 250):
        held += await asyncio.gather(*(one() for _ in range(250)))
    await asyncio.sleep(3.0)
    for writer in held:
        writer.close()
    return begun


def idle_streams(folder: Path) -> list[Row]:
    """Memory of the gateway while it holds 5,000 streams in which nothing happens."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    port, most = free_port(), 0.0
    ready, ending = threading.Event(), threading.Event()

    async def site() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(_idle_site(port, stop))
        ready.set()
        await asyncio.to_thread(ending.wait)
        stop.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(site()), daemon=True)
    thread.start()
    ready.wait(5)
    with aigrid(folder, f"http://127.0.0.1:{port}") as (gateway_port, pid):
        before = memory_mb(pid)
        holding = threading.Thread(target=lambda: counted.append(asyncio.run(_hold(gateway_port))))
        counted: list[int] = []
        holding.start()
        while holding.is_alive():
            most = max(most, memory_mb(pid))
            time.sleep(0.2)
    ending.set()
    thread.join(5)
    verdict = "pass" if counted == [IDLE_STREAMS] and most <= 1000 else "lost"
    note = f"{counted} begun; {before:.0f} MB before"
    return [row("aigrid: 5,000 idle streams", most, "MB", "<= 1000", verdict, note)]


def run() -> list[Row]:
    """See the module."""
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            return [
                row(f"needs {tool}", 0.0, "", verdict="skipped", note=f"apt-get install {tool}")
            ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigrid-bench-")))
        stub_port = stack.enter_context(stub(folder))
        alone, _ = saturate(stub_port, SECONDS)
        rows = [row("stub alone", alone, "requests/s")]
        rows += compare(folder, stub_port)
        rows += streamed(folder, stub_port)
        rows += idle_streams(folder)
        return rows
