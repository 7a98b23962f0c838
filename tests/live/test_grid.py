"""A real grid of processes: sites die, disks lie, radios surge, and clients get their answers."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import psutil
import pytest
from tests.live.tracing.receiver import Receiver
from tests.tiny_model import make_tiny_model

from aigrid.core.errors import AigridError, ConflictError, NotFoundError
from aigrid.live.client import ControlClient
from aigrid.live.paths import GridPaths
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.store.store import Store
from aigrid.twin.replay import replay

pytestmark = [pytest.mark.grid, pytest.mark.timeout(240)]


@dataclass
class Grid:
    """A grid whose supervisor is this process."""

    data: Path
    supervisor: Supervisor
    client: ControlClient
    model: str
    receiver: Receiver | None = None

    def wait(self, what: str, done: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> Any:
        deadline = time.monotonic() + timeout_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            self.supervisor.watch()
            try:
                status = self.client.status()
            except AigridError:
                status = {}
            if status and done(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"{what} not within {timeout_s} s: {status}")

    def site(self, name: str) -> dict[str, Any]:
        return next(site for site in self.client.sites() if site["name"] == name)

    def all_serve(self) -> None:
        self.wait("all four sites serve", lambda s: s["services"][0]["ready_sites"] == 4)

    def api(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.client.base_url, api_key=self.client.api_key, max_retries=0
        )

    def ask(self, api: openai.OpenAI, number: int = 0) -> str:
        """The site that answered."""
        answer = api.chat.completions.with_raw_response.create(
            model=self.model,
            messages=[{"role": "user", "content": f"lamp {number}"}],
            max_tokens=16,
            extra_headers={"x-aigrid-origin": f"tower-{1 + number % 2}"},
        )
        assert answer.parse().usage.completion_tokens > 0  # type: ignore[union-attr]
        return str(answer.headers["x-aigrid-site"])


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    data = tmp_path_factory.mktemp("grid")
    made = make_tiny_model(data / "model")
    record = Store(GridPaths(data).store).publish(made.path, "tests", time.time())
    receiver = Receiver().start()
    settings = GridSettings(
        data=data, port=0, log_level="debug", otlp=receiver.url, otlp_sample=0.0
    )
    supervisor = Supervisor(settings)
    supervisor.start()
    client = ControlClient(data)
    try:
        client.deploy(record.ref)
        grid = Grid(data, supervisor, client, record.name, receiver)
        grid.all_serve()
        yield grid
    finally:
        supervisor.stop()
        receiver.stop()


def test_kill_9_of_a_tower_under_200_requests_gives_200_answers_and_replays(grid: Grid) -> None:
    grid.wait("tower-1 has a share", lambda s: grid.site("tower-1")["share"] > 0)
    before = grid.site("tower-1")
    with grid.api() as api, ThreadPoolExecutor(200) as pool:
        answers = [pool.submit(grid.ask, api, number) for number in range(200)]
        time.sleep(0.3)
        os.kill(before["pid"], signal.SIGKILL)
        while not all(answer.done() for answer in answers):
            grid.supervisor.watch()
            time.sleep(0.05)
    assert len([a for a in answers if a.exception() is None]) == 200
    grid.wait("tower-1 is back", lambda s: grid.site("tower-1")["pid"] != before["pid"])
    grid.all_serve()
    after = grid.site("tower-1")
    assert after["restarts"] == before["restarts"] + 1
    status = grid.wait("gateway is idle", lambda s: s["gateway"]["in_flight"] == 0)
    assert status["gateway"]["errors_total"] == 0
    again = replay(Path(status["recording"]))
    assert again.identical, again.first_difference


def test_control_plane_dies_and_requests_go_on(grid: Grid) -> None:
    child = grid.supervisor.children["control"]
    assert child.process is not None
    child.process.kill()
    with grid.api() as api:
        sites = Counter(grid.ask(api, number) for number in range(8))
    assert sum(sites.values()) == 8
    grid.all_serve()
    with grid.api() as api:
        grid.ask(api)


def test_radio_surge_takes_the_share_and_routes_follow_until_it_is_over(grid: Grid) -> None:
    grid.wait("tower-2 has a share", lambda s: grid.site("tower-2")["share"] > 0.2)
    grid.client.set_radio_load("tower-2", 1.0, 6.0)
    calm = grid.site("tower-2")["share"]
    surge = grid.wait("the load shows", lambda s: grid.site("tower-2")["radio"]["load"] > 0.9)
    assert surge
    grid.wait("the share falls", lambda s: grid.site("tower-2")["share"] < calm)
    low = grid.site("tower-2")
    assert low["share"] + low["radio"]["need_cores"] <= 1.0 or low["share"] == 0.0
    grid.wait("the load falls", lambda s: grid.site("tower-2")["radio"]["load"] < 0.8)
    grid.wait("it is given back", lambda s: grid.site("tower-2")["share"] > low["share"])


def test_damaged_copy_on_a_site_heals_from_the_store(grid: Grid) -> None:
    site = grid.data / "sites" / "hub-1"
    for onnx in site.glob("packages/*/onnx/model.onnx"):
        content = bytearray(onnx.read_bytes())
        content[len(content) // 2] ^= 1
        onnx.write_bytes(content)
    before = grid.site("hub-1")["pid"]
    os.kill(before, signal.SIGKILL)
    grid.wait("hub-1 is back", lambda s: grid.site("hub-1")["pid"] != before)
    grid.all_serve()


def test_tampered_package_is_refused_and_what_serves_goes_on(grid: Grid, tmp_path: Path) -> None:
    made = make_tiny_model(tmp_path / "second")
    service = made.path / "service.json"
    service.write_text(service.read_text().replace('"version":"0.0.1"', '"version":"0.0.2"'))
    store = Store(GridPaths(grid.data).store)
    record = store.publish(made.path, "tests", time.time())
    assert record.version == "0.0.2"
    layers = store.show(record.ref).manifest["layers"]
    service_blob = next(b["digest"] for b in layers if "service" in b["mediaType"])
    path = store.layout.blob_path(service_blob)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"0.0.2", b"0.0.3"))
    with pytest.raises(AigridError, match="sha256"):
        grid.client.deploy(record.ref)
    status = grid.client.status()
    assert [s["version"] for s in status["services"]] == ["0.0.1"]
    with grid.api() as api:
        grid.ask(api)


def fetch(grid: Grid, path: str, token: str = "", body: bytes | None = None) -> tuple[int, str]:
    parts = urlsplit(grid.client.grid()["control_url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    headers = {"authorization": f"Bearer {token}"}
    try:
        connection.request("POST" if body is not None else "GET", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_control_plane_wants_the_operator_and_speaks_openapi(grid: Grid) -> None:
    operator = GridPaths(grid.data).operator_token.read_text().strip()
    member = GridPaths(grid.data).grid_token.read_text().strip()
    assert fetch(grid, "/control/v1/status", operator)[0] == 200
    for token in ("", "op-wrong", member):
        assert fetch(grid, "/control/v1/status", token)[0] == 401
    assert fetch(grid, "/control/v1/status", grid.client.api_key)[0] == 403
    assert fetch(grid, "/grid/v1/routes", operator)[0] == 401
    assert fetch(grid, "/v2/", operator)[0] == 401
    assert "/control/v1/services" in fetch(grid, "/openapi.json")[1]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"reference": 3}', b'{"ref": "x"}'])
def test_control_plane_refuses_what_it_cannot_read(grid: Grid, body: bytes) -> None:
    operator = GridPaths(grid.data).operator_token.read_text().strip()
    status, answer = fetch(grid, "/control/v1/services", operator, body)
    assert status == 400
    assert '"type":"invalid_request_error"' in answer


def test_control_plane_refuses_a_body_over_its_limit(grid: Grid) -> None:
    operator = GridPaths(grid.data).operator_token.read_text().strip()
    assert fetch(grid, "/control/v1/services", operator, b"x" * 1_100_000)[0] == 413


def test_console_page_is_there_and_loads_nothing_from_elsewhere(grid: Grid) -> None:
    status, page = fetch(grid, "/console")
    assert status == 200
    assert "<title>aigrid</title>" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_unknown_package_is_not_deployed(grid: Grid) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        grid.client.deploy("nothing:1.0")
    with pytest.raises(NotFoundError, match="'nothing' is not deployed"):
        grid.client.undeploy("nothing")


def test_port_of_a_running_grid_is_taken(grid: Grid, tmp_path: Path) -> None:
    second = Supervisor(GridSettings(data=tmp_path, port=grid.supervisor.port))
    with pytest.raises(ConflictError, match=f"port {grid.supervisor.port} .*--port"):
        second.start()


def test_undeploy_empties_the_routes_and_the_model_is_unknown(grid: Grid) -> None:
    reference = f"{grid.model}:0.0.1"
    grid.client.undeploy(grid.model)
    grid.wait(
        "no route is left",
        lambda s: not any(r["candidates"] for r in grid.client.routes()["routes"]),
    )
    with grid.api() as api, pytest.raises(openai.NotFoundError, match="not deployed"):
        grid.ask(api)
    grid.client.deploy(reference)
    grid.all_serve()


def test_a_trace_leads_from_the_client_into_the_embedded_engine(grid: Grid) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with grid.api() as api:
        answer = api.chat.completions.with_raw_response.create(
            model=grid.model,
            messages=[{"role": "user", "content": "lamp"}],
            max_tokens=8,
            extra_headers={"traceparent": f"00-{trace}-{parent}-01"},
        )
    spans = grid.receiver.until(lambda seen: any(s.name == "decode" for s in seen))
    spans = grid.receiver.until(lambda seen: sum(s.kind == 2 for s in seen) == 2)
    assert {s.trace_id for s in spans} == {trace}
    by_id = {s.span_id: s for s in spans}
    step, way = next(s for s in spans if s.name == "decode"), []
    while step.parent_id in by_id:
        step = by_id[step.parent_id]
        way.append((step.process, step.kind))
    assert step.parent_id == parent
    engine, site, leg, gateway = ("aigrid-site", 1), ("aigrid-site", 2), 3, 2
    assert way == [engine, site, ("aigrid-gateway", leg), ("aigrid-gateway", gateway)]
    assert by_id[step.span_id].attributes["aigrid.request_id"] == answer.headers["x-request-id"]
    assert {s.name for s in spans} >= {"door", "turn", "choose", "admit", "queue", "prefill"}


def test_logs_are_json_with_request_ids_and_hold_no_secret(grid: Grid) -> None:
    words = "the words of a client that are nobody's business"
    with grid.api() as api:
        answer = api.completions.with_raw_response.create(
            model=grid.model, prompt=words, max_tokens=4
        )
    request_id, paths = answer.headers["x-request-id"], grid.supervisor.settings.paths
    log = paths.log("gateway")
    deadline = time.monotonic() + 10
    while request_id not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    written = {path.name: path.read_text() for path in paths.logs.iterdir()}
    assert set(written) >= {"control.log", "gateway.log", "tower-1.log", "hub-1.log"}
    for name, text in written.items():
        for line in text.splitlines():
            told = json.loads(line)
            assert {"time", "level", "process", "source", "message"} <= set(told), (name, line)
    assert any(request_id == json.loads(x).get("request_id") for x in log.read_text().splitlines())
    secrets = [p.read_text().strip() for p in (grid.data / "secrets").iterdir() if p.is_file()]
    assert len(secrets) >= 3
    for hidden in (*secrets, words, "lamp 1", "sk-aigrid"):
        assert not [name for name, text in written.items() if hidden in text], hidden[:8]


def test_supervisor_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from aigrid.live.settings import GridSettings\n"
        "from aigrid.live.supervisor import Supervisor\n"
        "s = Supervisor(GridSettings(data=Path(sys.argv[1]), port=0, sites='0,0,1')); s.start()\n"
        "print('up', flush=True); s.run(threading.Event())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4  # control plane, gateway, tower and its radio
        process.kill()
    deadline = time.monotonic() + 5
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if is_running(child)]


def is_running(process: psutil.Process) -> bool:
    """A zombie has ended; whoever inherited it has yet to read its exit code."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
