"""A real grid with a real model: processes are killed and hung under dozens of streams."""

import http.client
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.live.conftest import until
from tests.live.test_grid import Grid
from tests.tiny_model import tiny_recipe, write_tiny_text

from aigrid.app.serving import gateway_routes
from aigrid.factory.progress import SilentProgress
from aigrid.factory.run import make_model
from aigrid.live.client import ControlClient
from aigrid.live.paths import GridPaths
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.store.store import Store

pytestmark = [pytest.mark.grid, pytest.mark.timeout(240)]
STREAMS = 24
TOKENS = 200
Begun = list[str | None]
SHAPE = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "context": 256}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """Three hubs: no radio takes their compute, so that only faults move streams."""
    data = tmp_path_factory.mktemp("survival")
    recipe, text = tiny_recipe(model=SHAPE), write_tiny_text(data / "text")
    made = make_model(recipe, data / "model", text, SilentProgress())
    record = Store(GridPaths(data).store).publish(made.path, "tests", time.time())
    supervisor = Supervisor(GridSettings(data=data, port=0, sites="0,3,0"))
    supervisor.start()
    try:
        grid = Grid(data, supervisor, ControlClient(data), record.name)
        grid.client.deploy(record.ref)
        grid.wait("all serve", lambda s: s["services"][0]["ready_sites"] == 3)
        yield grid
    finally:
        supervisor.stop()


def body(number: int) -> dict[str, Any]:
    """Chat and completions, greedy and with a seed, with logprobs, with a stop string."""
    seeded = {"temperature": 0.9, "seed": number} if number % 2 else {"temperature": 0.0}
    common = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": TOKENS}
    text = f"Lamp {number % 7} shines over the"
    if number % 3 == 0:
        return common | seeded | {"prompt": text, "logprobs": 2}
    stop = {"stop": ["\n\n", "zz"]} if number % 3 == 1 else {}
    return common | seeded | stop | {"messages": [{"role": "user", "content": text}]}


def ask(grid: Grid, number: int, key: str = "", begun: Begun | None = None) -> tuple[int, Any]:
    """What a client makes of an answer; which site began it is told at once."""
    asked = body(number) | {"model": grid.model}
    connection = http.client.HTTPConnection(urlsplit(grid.client.base_url).netloc, timeout=90)
    headers = {"authorization": f"Bearer {grid.client.api_key}"}
    headers |= {"idempotency-key": key} if key else {}
    path = "/v1/completions" if "prompt" in asked else "/v1/chat/completions"
    try:
        connection.request("POST", path, json.dumps(asked), headers)
        response = connection.getresponse()
        first = response.readline()
        if begun is not None:
            begun.append(response.headers["x-aigrid-site"])
        return response.status, read((first + response.read()).decode())
    finally:
        connection.close()


def read(stream: str) -> Any:
    """Text, logprobs, why it ended, usage."""
    blocks = [block.removeprefix("data: ") for block in stream.split("\n\n") if block]
    assert blocks[-1] == "[DONE]", stream[-500:]
    events = [json.loads(block) for block in blocks[:-1]]
    assert not [event for event in events if "error" in event], stream[-500:]
    choices = [choice for event in events for choice in event["choices"]]
    assert len({event["id"] for event in events}) == 1
    text = "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)
    told = [c["logprobs"] for c in choices if c["logprobs"]]
    offsets = [offset for one in told for offset in one["text_offset"]]
    tokens = [token for one in told for token in one["tokens"]]
    ends = [c["finish_reason"] for c in choices if c["finish_reason"]]
    return text, tokens, offsets, ends, [e["usage"] for e in events if e["usage"]]


def disturb(grid: Grid, undisturbed: list[Any], what: signal.Signals) -> None:
    """Strike the busiest site when a third of the streams have begun."""
    begun: Begun = []
    with ThreadPoolExecutor(STREAMS) as pool:
        pids = {site["name"]: site["pid"] for site in grid.client.sites()}
        answers = [pool.submit(ask, grid, n, "", begun) for n in range(STREAMS)]
        until(lambda: len(begun) >= STREAMS // 3)
        pid = pids[Counter(begun).most_common(1)[0][0]]
        os.kill(pid, what)
        try:
            while not all(answer.done() for answer in answers):
                grid.supervisor.watch()
                time.sleep(0.05)
        finally:
            if what == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
    for number, answer in enumerate(answers):
        status, got = answer.result()
        assert status == 200
        assert got == undisturbed[number], number
        assert len(got[3]) == len(got[4]) == 1


def test_streams_survive_kill_and_hang_and_leaving(grid: Grid) -> None:
    undisturbed = [ask(grid, number)[1] for number in range(STREAMS)]
    resumed = 0
    for what in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        disturb(grid, undisturbed, what)
        before = resumed
        status = grid.wait("told", lambda s: s["gateway"]["resumed_total"] > before)  # noqa: B023
        status = grid.wait("gateway is idle", lambda s: s["gateway"]["in_flight"] == 0)
        assert status["gateway"]["errors_total"] == 0
        resumed = status["gateway"]["resumed_total"]
        grid.wait("all serve", lambda s: s["services"][0]["ready_sites"] == 3)


def test_gateway_that_dies_answers_a_retry_with_the_whole(grid: Grid) -> None:
    whole = ask(grid, 2, key="before")[1]
    child = grid.supervisor.children["gateway"]
    assert child.process is not None
    begun: Begun = []
    with ThreadPoolExecutor(8) as pool:
        lost = [pool.submit(ask, grid, 2, f"under-way-{number}", begun) for number in range(8)]
        until(lambda: len(begun) > 0)
        child.process.kill()
        assert any(answer.exception() for answer in lost)
    grid.wait("gateway is back", lambda _: gateway_routes(grid.client.base_url) >= 0)
    assert ask(grid, 2, key="before")[1] == whole
    for number in range(8):
        assert ask(grid, 2, key=f"under-way-{number}")[1] == whole
