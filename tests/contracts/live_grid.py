"""The contract's grid, real: processes on loopback, started by the `aigrid` command."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from tests.contracts.harness import DAMAGED, SERVICE, TOPOLOGY, Answer, SiteView, Status
from tests.tiny_model import make_tiny_model

from aigrid.app.serving import gateway_routes
from aigrid.core.errors import IntegrityError
from aigrid.live.client import ControlClient
from aigrid.store.store import Store

START_LIMIT_S = 120.0
ANSWER_LIMIT_S = 60.0
GATEWAY_LIMIT_S = 5.0
BODY = json.dumps({"model": SERVICE, "prompt": "The red lamp", "max_tokens": 16, "seed": 1})


def fill_store(folder: Path, data: Path) -> None:
    """Publish three versions of a tiny model, and damage the third one's largest blob."""
    made = make_tiny_model(folder / "model").path
    store = Store(data / "store")
    blobs = data / "store" / "oci" / "blobs" / "sha256"
    for version in ("1", "2", "3"):
        before = set(blobs.iterdir()) if blobs.exists() else set()
        copy = folder / f"version-{version}"
        shutil.copytree(made, copy)
        service = json.loads((copy / "service.json").read_text())
        service |= {"name": SERVICE, "version": version}
        (copy / "service.json").write_text(json.dumps(service))
        # A file that differs, so that each version has a blob of its own to damage.
        (copy / "README.md").write_text(f"# version {version}\n" * 50)
        store.publish(copy, "test", float(version))
        if f"{SERVICE}:{version}" == DAMAGED:
            _damage(max(set(blobs.iterdir()) - before, key=lambda blob: blob.stat().st_size))


def _damage(blob: Path) -> None:
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)


class LiveHarness:
    """See `tests.contracts.harness.Harness`."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        topology = folder / "topology.yaml"
        topology.write_text(yaml.safe_dump(TOPOLOGY))
        fill_store(folder, self._data)
        self._run("up", "--detach", "--port", "0", "--topology", str(topology))
        self._client = ControlClient(self._data)
        self._pool = ThreadPoolExecutor(max_workers=256)
        # `up` deploys the first package; the contract begins with none.
        self.undeploy(SERVICE)

    def _run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "aigrid.cli.main", "--data", str(self._data), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=START_LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stderr

    def deploy(self, reference: str) -> None:
        with suppress(IntegrityError):
            self._client.deploy(reference)

    def undeploy(self, service: str) -> None:
        self._client.undeploy(service)

    def begin(self, count: int) -> list[Future[Answer]]:
        return [self._pool.submit(self._ask) for _ in range(count)]

    def finish(self, begun: list[Future[Answer]]) -> list[Answer]:
        return [future.result(ANSWER_LIMIT_S) for future in begun]

    def _ask(self) -> Answer:
        address = urlsplit(self._client.base_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=ANSWER_LIMIT_S)
        headers = {
            "authorization": f"Bearer {self._client.api_key}",
            "content-type": "application/json",
        }
        try:
            connection.request("POST", f"{address.path}/completions", BODY, headers)
            response = connection.getresponse()
            body, ok = response.read(), response.status == 200
            site = response.getheader("x-aigrid-site") or ""
            return Answer(ok, site, "" if ok else f"{response.status} {body[:300]!r}")
        finally:
            connection.close()

    def kill(self, site: str) -> None:
        pid = next(s["pid"] for s in self._client.sites() if s["name"] == site)
        os.kill(pid, signal.SIGKILL)

    def set_radio_load(self, site: str, load: float, for_s: float) -> None:
        self._client.set_radio_load(site, load, for_s)

    def wait_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        end_s = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > end_s:
                return False
            time.sleep(0.1)
        return True

    def status(self) -> Status:
        return {site["name"]: _view(site) for site in self._client.sites()}

    def routes(self) -> dict[str, float]:
        published = self._client.routes()
        end_s = time.monotonic() + GATEWAY_LIMIT_S
        while gateway_routes(self._client.base_url) < published["version"]:
            assert time.monotonic() < end_s, "the gateway does not follow"
        return {
            candidate["site"]: candidate["weight"]
            for row in published["routes"]
            if (row["origin"], row["service"]) == ("*", SERVICE)
            for candidate in row["candidates"]
        }

    def recording(self) -> Path:
        return Path(self._client.status()["recording"])

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._run("down")


def _view(site: dict[str, Any]) -> SiteView:
    radio = site["radio"] or {"load": 0.0, "slots_missed": 0}
    return SiteView(
        status=site["status"],
        share=site["share"],
        serving={r["service"]: r["version"] for r in site["replicas"] if r["digest"]},
        radio_load=radio["load"],
        slots_missed=radio["slots_missed"],
    )
