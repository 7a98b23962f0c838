"""A gateway and sites in this process, on real sockets, with scripted engines behind them."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from aigrid.core.package import ServiceSpec
from aigrid.core.routing import RoutingTable
from aigrid.core.site import Site
from aigrid.engines.scripted import Script, ScriptedEngine
from aigrid.live import server
from aigrid.live.bounded import BoundedWriter
from aigrid.live.gateway import Gateway, GatewaySettings
from aigrid.live.limits import Limits
from aigrid.live.replicas import Replica
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_api import SiteApi
from aigrid.live.tracing import NOWHERE, Telemetry
from aigrid.live.tracing.web import tracer_of

KEY = "sk-test"
GRID_TOKEN = "grid-test"


@dataclass
class Served:
    """An ASGI application on a loopback socket, in a thread of its own."""

    app: Any
    url: str = ""
    _server: Any = None
    _thread: Any = None

    def start(self) -> "Served":
        bound = server.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        config = uvicorn.Config(
            self.app, http=BoundedWriter, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[bound])), daemon=True
        )
        self._thread.start()
        for _ in range(500):
            if self._server.started:
                break
            threading.Event().wait(0.01)
        return self

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5)


@dataclass
class FakeControl:
    """Publishes one routing table and notes what it is told."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    takes_usage: bool = True

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/grid/v1/routes", self.routes),
                Route("/grid/v1/{what}", self.note, methods=["POST"]),
            ]
        )

    async def routes(self, request: Request) -> JSONResponse:
        if int(request.query_params["after"]) == self.answer["version"]:
            await asyncio.sleep(0.2)
        return JSONResponse(self.answer)

    async def note(self, request: Request) -> JSONResponse:
        what, body = request.path_params["what"], await request.json()
        self.told.append((what, body))
        if what == "usage" and self.takes_usage:
            return JSONResponse({"acked": len(body["events"]), "gateways": 1, "headroom": {}})
        return JSONResponse({"share": 1.0, "replicas": {}, "join": True})

    def publish(self, urls: dict[str, str], weights: list[float]) -> None:
        names = tuple(urls)
        table = RoutingTable(
            origins=("*",),
            services=("m",),
            sites=names,
            candidate=np.arange(len(names), dtype=np.int32).reshape(1, 1, -1),
            weight=np.asarray(weights, np.float32).reshape(1, 1, -1),
        )
        service = {"name": "m", "version": "1", "digest": "sha256:0", "deployed_at_s": 0.0}
        self.answer = {
            "version": self.answer.get("version", 0) + 1,
            "table": table.to_dict(),
            "urls": urls,
            "services": [service],
        }


class Middle:
    """Stands between a gateway and a site on loopback, and behaves badly when told to.

    Attributes:
        passed: bytes that went from the site to the gateway.
        freeze_at: silent from this byte on; the connection stays.
        cut_at: closed at this byte.
        deaf: takes connections and never answers.
        taken: connections.
    """

    def __init__(self, target: str = "") -> None:
        self.target = urlsplit(target)
        self.passed = self.taken = 0
        self.freeze_at = self.cut_at = math.inf
        self.deaf = not target
        self._listening = server.listen("127.0.0.1", 0)
        self._listening.listen(64)
        self._held: list[socket.socket] = [self._listening]
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._serve)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.taken += 1
                self._held.append(near)
                if not self.deaf:
                    host, port = str(self.target.hostname), int(self.target.port or 0)
                    far = socket.create_connection((host, port))
                    self._held.append(far)
                    self._start(self._up, near, far)
                    self._start(self._down, near, far)

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := near.recv(65536):
                far.sendall(piece)
            far.shutdown(socket.SHUT_RDWR)

    def _down(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := far.recv(65536):
                end = min(self.freeze_at, self.cut_at)
                piece = piece[: max(0, int(min(end - self.passed, len(piece))))]
                near.sendall(piece)
                self.passed += len(piece)
                if self.passed >= self.cut_at:
                    break
            near.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for thread in self._threads:
            for held in self._held:
                with contextlib.suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
            thread.join(5)
        for held in self._held:
            held.close()


@dataclass
class Rig:
    """One gateway before any number of sites."""

    control: FakeControl
    gateway: Served
    sites: dict[str, Served]
    gateway_state: Gateway
    apis: dict[str, SiteApi] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return self.gateway.url + "/v1"


def client(rig: Rig, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=rig.base_url, api_key=KEY, max_retries=0, **options)


def post(rig: Rig, body: bytes, key: str = KEY) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(urlsplit(rig.gateway.url).netloc, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def ask(text: str = "hello there", **more: Any) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


def make_site(
    name: str,
    script: Script,
    control_url: str,
    share: float = 1.0,
    telemetry: Telemetry = NOWHERE,
) -> SiteApi:
    agent = SiteAgent(Site(name, "hub", "r"), "", control_url, GRID_TOKEN, source=None)  # type: ignore[arg-type]
    agent.replicas.share = share
    agent.replicas.serving["m"] = Replica(ServiceSpec("m", "1"), "sha256:0", ScriptedEngine(script))
    return SiteApi(agent, GRID_TOKEN, tracer=tracer_of(telemetry, "site", name, at_the_door=False))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """`rig(one=Script(...), two="closed port")` starts a gateway before scripted sites."""
    started: list[Served] = []

    def start(app: Any) -> Served:
        started.append(Served(app).start())
        return started[-1]

    def build(
        share: float = 1.0,
        limits: Limits | None = None,
        keep: bool = False,
        telemetry: Telemetry = NOWHERE,
        **scripts: Any,
    ) -> Rig:
        control = FakeControl()
        control_url = start(control.app()).url
        apis = {
            name: make_site(name, script, control_url, share, telemetry)
            for name, script in scripts.items()
            if isinstance(script, Script)
        }
        sites = {name: start(api.app()) for name, api in apis.items()}
        urls = {n: sites[n].url if n in sites else str(s) for n, s in scripts.items()}
        control.publish(urls, [1.0 / len(urls)] * len(urls))
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        data = tmp_path if keep else None
        settings = GatewaySettings(
            control_url, GRID_TOKEN, (digest,), limits or Limits(), data, telemetry=telemetry
        )
        state = Gateway(settings)
        gateway = start(state.app())
        for _ in range(500):
            if state.mirror.version > 0:
                break
            threading.Event().wait(0.01)
        return Rig(control, gateway, sites, state, apis)

    yield build
    for served in reversed(started):
        served.stop()


@pytest.fixture
def middle() -> Iterator[Callable[..., Middle]]:
    """`middle()` never answers; `middle(url)` passes on to a site."""
    made: list[Middle] = []

    def make(target: str = "") -> Middle:
        made.append(Middle(target))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until(done: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something that must come soon."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.01)
