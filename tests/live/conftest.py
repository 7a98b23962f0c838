"""A gateway and sites in this process, on real sockets, with scripted engines behind them."""

import asyncio
import hashlib
import http.client
import json
import threading
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
from aigrid.live.gateway import Gateway, GatewaySettings
from aigrid.live.limits import Limits
from aigrid.live.replicas import Replica
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_api import SiteApi

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
        config = uvicorn.Config(self.app, log_level="warning", timeout_graceful_shutdown=1)
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
            return JSONResponse({"version": self.answer["version"]})
        return JSONResponse(self.answer)

    async def note(self, request: Request) -> JSONResponse:
        self.told.append((request.path_params["what"], await request.json()))
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


@dataclass
class Rig:
    """One gateway before any number of sites."""

    control: FakeControl
    gateway: Served
    sites: dict[str, Served]
    gateway_state: Gateway

    @property
    def base_url(self) -> str:
        return self.gateway.url + "/v1"


def client(rig: Rig, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=rig.base_url, api_key=KEY, max_retries=0, **options)


def post(rig: Rig, body: bytes, key: str = KEY) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(urlsplit(rig.gateway.url).netloc, timeout=10)
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


def make_site(name: str, script: Script, control_url: str, share: float = 1.0) -> SiteApi:
    agent = SiteAgent(Site(name, "hub", "r"), "", control_url, GRID_TOKEN, source=None)  # type: ignore[arg-type]
    agent.replicas.share = share
    agent.replicas.serving["m"] = Replica(ServiceSpec("m", "1"), "sha256:0", ScriptedEngine(script))
    return SiteApi(agent, GRID_TOKEN)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """`rig(one=Script(...), two="closed port")` starts a gateway before scripted sites."""
    started: list[Served] = []

    def start(app: Any) -> Served:
        started.append(Served(app).start())
        return started[-1]

    def build(
        share: float = 1.0, limits: Limits | None = None, keep: bool = False, **scripts: Any
    ) -> Rig:
        control = FakeControl()
        control_url = start(control.app()).url
        sites = {
            name: start(make_site(name, script, control_url, share).app())
            for name, script in scripts.items()
            if isinstance(script, Script)
        }
        urls = {n: sites[n].url if n in sites else str(s) for n, s in scripts.items()}
        control.publish(urls, [1.0 / len(urls)] * len(urls))
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        data = tmp_path if keep else None
        settings = GatewaySettings(control_url, GRID_TOKEN, (digest,), limits or Limits(), data)
        state = Gateway(settings)
        gateway = start(state.app())
        for _ in range(500):
            if state.mirror.version > 0:
                break
            threading.Event().wait(0.01)
        return Rig(control, gateway, sites, state)

    yield build
    for served in reversed(started):
        served.stop()
