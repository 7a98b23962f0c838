"""A real grid whose control traffic and packages go over a real NATS server."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.live.fabric.conftest import NatsProcess
from tests.tiny_model import make_tiny_model

from aigrid.core.errors import ConfigurationError, UnavailableError
from aigrid.live.client import ControlClient
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.store.store import Store

pytestmark = [pytest.mark.grid, pytest.mark.timeout(120)]


def test_a_grid_over_nats_serves_and_outlives_it(tmp_path: Path, nats_server: NatsProcess):
    settings = GridSettings(
        data=tmp_path / "data",
        port=0,
        sites="1,0,1",
        protection="off",
        fabric=nats_server.url,
    )
    settings.paths.make()
    Store(settings.paths.store).publish(make_tiny_model(tmp_path / "model").path, "test", 1.0)
    supervisor = Supervisor(settings)
    supervisor.start()
    try:
        client = ControlClient(settings.data)
        name = client.deploy("tiny")["name"]

        def wait(done: Callable[[dict[str, Any]], bool]) -> None:
            deadline = time.monotonic() + 40
            while not done(client.status()):
                assert time.monotonic() < deadline, client.status()
                supervisor.watch()
                time.sleep(0.05)

        def all_serve(status: dict[str, Any]) -> bool:
            return bool(status["services"]) and status["services"][0]["ready_sites"] == 2

        def ask() -> str:
            with openai.OpenAI(base_url=client.base_url, api_key=client.api_key) as caller:
                answer = caller.chat.completions.create(
                    model=name,
                    messages=[{"role": "user", "content": "hi"}],
                    max_tokens=4,
                    temperature=0,
                )
            return str(answer.choices[0].message.content)

        wait(all_serve)
        assert (settings.paths.site("factory-1") / "packages").is_dir()
        said = ask()
        nats_server.kill()
        assert ask() == said  # routes and orders stand without it
        nats_server.start()
        child = supervisor.children["tower-1"].process
        assert child is not None
        child.kill()
        wait(lambda status: not all_serve(status))
        wait(all_serve)
        assert ask() == said
    finally:
        supervisor.stop()


def test_a_fabric_that_is_not_there_is_said_before_anything_starts(tmp_path: Path):
    settings = GridSettings(data=tmp_path, port=0, sites="1,0,0", fabric="nats://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="does not answer"):
        Supervisor(settings).start()


def test_a_fabric_that_lets_everybody_in_is_not_shared(tmp_path: Path, nats_server: NatsProcess):
    wide = GridSettings(
        data=tmp_path / "data", port=0, sites="1,0,0", fabric=nats_server.url, advertise="10.9.9.9"
    )
    with pytest.raises(ConfigurationError, match="lets everybody in"):
        Supervisor(wide).start()
