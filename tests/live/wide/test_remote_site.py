"""A real grid with a site that joined as from another machine: over TLS on loopback."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.live.fabric.conftest import NatsProcess, free_port, nats_server  # noqa: F401
from tests.tiny_model import make_tiny_model

from aigrid.app.fabric import configure
from aigrid.core.site import Site
from aigrid.live.client import ControlClient
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.live.wide import membership
from aigrid.store.store import Store

pytestmark = [pytest.mark.grid, pytest.mark.timeout(120)]


@pytest.fixture(params=["http", "nats"])
def fabric(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The door's own HTTP, or a NATS server of the grid's own, over TLS."""
    if request.param == "http":
        return ""
    server: NatsProcess = request.getfixturevalue("nats_server")
    server.kill()
    conf, kept = tmp_path / "conf", tmp_path / "kept"
    url = configure(tmp_path / "data", conf, "127.0.0.1", server.port, kept, tls=True)
    server.arguments = ["-c", str(conf / "nats.conf")]
    server.start()
    return url


def test_a_site_of_another_machine_serves_and_carries_on_alone(tmp_path: Path, fabric: str):
    settings = GridSettings(
        data=tmp_path / "data",
        fabric=fabric,
        port=0,
        sites="1,0,0",
        protection="off",
        advertise="127.0.0.1",
        door_port=0,
    )
    settings.paths.make()
    Store(settings.paths.store).publish(make_tiny_model(tmp_path / "model").path, "test", 1.0)
    supervisor, remote = Supervisor(settings), None
    supervisor.start()
    try:
        client = ControlClient(settings.data)
        name = client.deploy("tiny")["name"]
        site = Site("tower-9", "tower", "kanto", parent="factory-1", compute_cores=2.0)
        token = client.invite(site.name, 60.0)["token"]
        folder = tmp_path / "remote"
        joined = membership.join(token, folder, site, "127.0.0.1", free_port())
        with (tmp_path / "remote.log").open("wb") as log:
            command = [sys.executable, "-m", "aigrid.cli.main", "--data", str(folder)]
            remote = subprocess.Popen([*command, "site", "run"], stdout=log, stderr=log)

        def wait(done: Callable[[dict[str, Any]], bool]) -> None:
            deadline = time.monotonic() + 60
            while not done(client.status()):
                assert time.monotonic() < deadline, (
                    client.status(),
                    (tmp_path / "remote.log").read_text(),
                )
                supervisor.watch()
                time.sleep(0.05)

        wait(lambda s: bool(s["services"]) and s["services"][0]["ready_sites"] == 2)
        assert joined.url.startswith("https://") and joined.fabric == fabric
        factory = supervisor.children.pop("factory-1").process  # not to be started again
        assert factory is not None
        factory.kill()
        factory.wait()
        with openai.OpenAI(base_url=client.base_url, api_key=client.api_key) as caller:
            answer = caller.chat.completions.with_raw_response.create(
                model=name, messages=[{"role": "user", "content": "hi"}], max_tokens=4
            )
        assert answer.headers["x-aigrid-site"] == "tower-9"
        assert answer.parse().usage.completion_tokens > 0
        client.dismiss("tower-9")
        wait(lambda s: not any(r["name"] == "tower-9" and r["status"] == "up" for r in s["sites"]))
    finally:
        if remote is not None:
            remote.kill()
            remote.wait()
        supervisor.stop()
