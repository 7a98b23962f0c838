"""Embeddings on a real grid of processes, by OpenAI's client: the right vectors, and one bill."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import pytest
from tests.tiny_encoder import TEXT, make_tiny_embedder

from aigrid.app.serving import wait_until_served
from aigrid.core.package import Price
from aigrid.engines.encoder import Encoder
from aigrid.live.client import ControlClient
from aigrid.live.paths import GridPaths
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.store.store import Store

pytestmark = [pytest.mark.grid, pytest.mark.timeout(240)]


@dataclass
class Grid:
    """A grid whose supervisor is this process, and the package that it serves."""

    data: Path
    supervisor: Supervisor
    client: ControlClient
    package: Path

    def api(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.client.base_url, api_key=self.client.api_key, max_retries=0
        )

    def wait(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline_s, "it did not come"
            self.supervisor.watch()
            time.sleep(0.05)

    def booked(self) -> dict[str, int]:
        """Of the month so far, of all requests."""
        rows = self.client.call("GET", "/control/v1/usage")["rows"]
        keys = ("requests", "prompt_tokens", "completion_tokens", "amount_micro")
        return {key: sum(int(row[key]) for row in rows) for key in keys}

    def settled(self) -> dict[str, int]:
        """What is booked once usage of earlier requests has been shipped, too."""
        seen = self.booked()
        time.sleep(1.0)
        while (now := self.booked()) != seen:
            seen = now
            time.sleep(1.0)
        return seen

    def ready_sites(self) -> int:
        return int(self.client.status()["services"][0]["ready_sites"])


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    data = tmp_path_factory.mktemp("grid")
    package = make_tiny_embedder(data / "model", dimensions=(8,), price=Price("USD", 1000.0))
    record = Store(GridPaths(data).store).publish(package, "tests", time.time())
    supervisor = Supervisor(GridSettings(data=data, port=0, sites="0,0,2"))
    supervisor.start()
    client = ControlClient(data)
    made = Grid(data, supervisor, client, package)
    try:
        client.deploy(record.ref)
        wait_until_served(client, ["tiny-embed"], between=supervisor.watch)
        made.wait(lambda: made.ready_sites() == 2)
        yield made
    finally:
        supervisor.stop()


def test_the_openai_client_gets_the_vectors_of_the_package(grid: Grid) -> None:
    texts = [*TEXT, "a tower"]
    with grid.api() as api:
        answer = api.embeddings.create(model="tiny-embed", input=texts)
        cut = api.embeddings.create(model="tiny-embed", input=TEXT[0], dimensions=8)
        with pytest.raises(openai.BadRequestError, match="dimensions is 9, this model makes 8, 32"):
            api.embeddings.create(model="tiny-embed", input="a", dimensions=9)
        with pytest.raises(openai.BadRequestError, match="makes embeddings, no text"):
            api.chat.completions.create(
                model="tiny-embed", messages=[{"role": "user", "content": "a"}]
            )
    encoder = Encoder(grid.package, threads=1)
    ids = [encoder.tokens(text) for text in texts]
    for row, one in zip(answer.data, ids, strict=True):
        wanted = encoder.finish(encoder.encode([one]), None)[0]
        np.testing.assert_allclose(row.embedding, wanted, atol=5e-6)
    assert answer.usage.total_tokens == sum(map(len, ids))
    assert len(cut.data[0].embedding) == 8


def test_a_killed_site_costs_no_answer_and_every_request_is_booked_once(grid: Grid) -> None:
    before = grid.settled()
    victim = grid.client.sites()[0]
    with grid.api() as api, ThreadPoolExecutor(16) as pool:
        create = api.embeddings.with_raw_response.create
        asked = [
            pool.submit(create, model="tiny-embed", input=[f"{n} tower"] * 64) for n in range(60)
        ]
        time.sleep(0.2)
        os.kill(victim["pid"], signal.SIGKILL)
        grid.wait(lambda: all(one.done() for one in asked))
    answers = [one.result() for one in asked]
    assert all(len(answer.parse().data) == 64 for answer in answers)
    tokens = sum(answer.parse().usage.prompt_tokens for answer in answers)
    grid.wait(lambda: grid.booked()["requests"] - before["requests"] >= 60)
    after = grid.booked()
    told = {key: after[key] - before[key] for key in before}
    assert told == {
        "requests": 60, "prompt_tokens": tokens, "completion_tokens": 0,
        "amount_micro": tokens * 1000,
    }  # fmt: skip
    request_id = answers[0].headers["x-request-id"]
    proof = grid.client.call("GET", f"/control/v1/audit/requests/{request_id}")
    assert proof["chain"]["verified"] and request_id in json.dumps(proof)
