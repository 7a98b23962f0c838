"""What Prometheus is told, and whether dashboard and alerts ask for what there is."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.live.conftest import GRID_TOKEN, Rig, ask, client, post, until
from tests.live.plane import GRID, running_plane

from aigrid.app.upstream import publish_upstream
from aigrid.core.codec import to_plain
from aigrid.core.site import Cell, Site
from aigrid.live import metrics
from aigrid.live.control_metrics import registry_of as registry_of_control
from aigrid.live.forward import RESUMED
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_metrics import registry_of as registry_of_site

DEPLOY = Path(__file__).parents[2] / "deploy"
RigMaker = Callable[..., Rig]
Series = dict[str, set[str]]  # name of a sample: its labels
# What Prometheus itself adds, and what an expression is made of.
ADDED = {"instance", "job", "le"}
FUNCTIONS = {"sum", "rate", "count", "histogram_quantile", "increase", "vector", "or", "and"}
FUNCTIONS |= {"group_left"}


def page(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        return str(answer.read().decode())


def samples(text: str) -> Series:
    """Every series of a page, as Prometheus's own parser reads it."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, f"{family.name} does not say what it is"
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture
def told(rig: RigMaker, tmp_path: Path) -> Iterator[Series]:
    """What gateway, control plane and a tower tell, an answer and an error after their start."""
    from aigrid.engines.scripted import Script

    running = rig(dead="http://127.0.0.1:9", one=Script())
    with client(running) as api:
        for _ in range(3):
            list(api.completions.create(model="m", prompt="a b c", stream=True))
    post(running, b"{", key="sk-wrong")
    RESUMED.labels("m")
    running.gateway_state.door.tell_metrics()
    found = samples(page(running.gateway.url)) | samples(page(running.sites["one"].url))
    publish_upstream(tmp_path / "store", "up", "http://127.0.0.1:9/v1", "m", None)
    with running_plane(tmp_path) as (plane, control):
        body = {"site": to_plain(Site("t", "tower", "r", compute_cores=1.0)), "url": "http://t"}
        body |= {"pid": 1, "incarnation": "i"}
        as_site = {"authorization": f"Bearer {GRID}"}
        assert control.post("/grid/v1/join", json=body, headers=as_site).status_code == 200
        assert control.post("/control/v1/services", json={"reference": "up"}).status_code == 200
        found |= samples(metrics.page(registry_of_control(plane)).body.decode())
    site = Site("t", "tower", "r", cells=(Cell("c"),))
    agent = SiteAgent(site, "", "", GRID_TOKEN, None, counters=(tmp_path / "none",))  # type: ignore[arg-type]
    found |= samples(metrics.page(registry_of_site(agent)).body.decode())
    import aigrid.live.tracing.tracer  # noqa: F401  its counters are there where traces are

    yield found | samples(metrics.page().body.decode())


def expressions() -> Iterator[tuple[str, str]]:
    board = json.loads((DEPLOY / "grafana" / "aigrid.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        yield f"alert {rule['alert']}", rule["expr"]


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Names of series in an expression, and the labels that it selects or groups by."""
    grouped = {
        label.strip()
        for group in re.findall(r"(?:by|ignoring)\s*\(([^)]*)\)", expression)
        for label in group.split(",")
    }
    bare = re.sub(r"(?:by|ignoring)\s*\([^)]*\)|\[[^\]]*\]", " ", expression)
    bare = re.sub(r'"[^"]*"', "", bare)
    for name, selected in re.findall(r"\b([a-z][a-z0-9_]*)\b(?:\{([^}]*)\})?", bare):
        if name not in FUNCTIONS:
            yield name, grouped | set(re.findall(r"(\w+)\s*[=!]", selected))


def test_every_panel_and_alert_asks_for_what_is_told(told: Series) -> None:
    seen = 0
    for where, expression in expressions():
        for name, labels in asked(expression):
            if name == "up":
                continue
            assert name in told, f"{where}: nobody tells {name}"
            assert labels - ADDED <= told[name] | {"version"}, f"{where}: {name} has no {labels}"
            seen += 1
    assert seen > 50


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads((DEPLOY / "grafana" / "aigrid.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, f"{panel['title']} lies on another"
        cells |= taken


def test_prometheus_configuration_names_files_that_are_there() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert all((DEPLOY / "prometheus" / name).is_file() for name in config["rule_files"])
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(rule["labels"]["severity"] in ("page", "ticket") for rule in rules)
    assert all(rule["annotations"]["summary"] for rule in rules)


def test_latency_tokens_and_errors_are_counted(rig: RigMaker) -> None:
    from aigrid.engines.scripted import Script

    running = rig(one=Script(first_token_s=0.02, token_s=0.01))

    def value(name: str, **labels: str) -> float:
        return float(metrics.REGISTRY.get_sample_value(name, labels) or 0.0)

    def seen() -> dict[str, float]:
        return {
            "ttft": value("aigrid_gateway_time_to_first_token_seconds_count", service="m"),
            "ttft_s": value("aigrid_gateway_time_to_first_token_seconds_sum", service="m"),
            "tpot": value("aigrid_gateway_time_per_output_token_seconds_count", service="m"),
            "made": value("aigrid_gateway_tokens_total", service="m", type="output"),
            "bad": value("aigrid_errors_total", code="invalid_request_error"),
        }

    before = seen()
    with client(running) as api:
        list(api.completions.create(model="m", prompt="a b c", stream=True))
    post(running, b"{")
    after = {name: number - before[name] for name, number in seen().items()}
    assert (after["ttft"], after["tpot"], after["made"], after["bad"]) == (1, 1, 5, 1)
    assert 0.02 <= after["ttft_s"] < 1.0


def test_names_that_clients_make_up_are_no_labels(rig: RigMaker) -> None:
    from aigrid.engines.scripted import Script

    running = rig(one=Script())

    def count() -> int:
        return len(page(running.gateway.url).splitlines())

    for number in range(3):
        post(running, ask() if number else json.dumps({"model": "x0", "messages": []}).encode())
    until(lambda: running.gateway_state.forwarder.open_requests == 0)
    before = count()
    for number in range(20):
        body: dict[str, Any] = {"model": f"made-up-{number}", "messages": []}
        post(running, json.dumps(body).encode(), key="sk-wrong" if number % 2 else "sk-test")
    assert count() - before <= 12  # a code of error that was not there before
    assert "made-up" not in page(running.gateway.url)
