"""Both OpenAPI documents are true, and nothing that they describe, or forbid, ends in a 5xx."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests  # noqa: TID251  the client that schemathesis uses
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.live.conftest import GRID_TOKEN, KEY, Rig, Served, make_site
from tests.live.embeddings import ScriptedEmbedder, serve
from tests.live.plane import GRID, OPERATOR, make_plane

from aigrid.app.upstream import publish_upstream
from aigrid.core.codec import to_plain
from aigrid.core.site import Site
from aigrid.engines.scripted import Script
from aigrid.live import gateway_openapi
from aigrid.live.control_api import control_app
from aigrid.live.guesses import Guesses

RigMaker = Callable[..., Rig]
EXAMPLES = 8
load_all_checks()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
QUIET = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def attack(schema: Any, token: str, steer: Callable[[Any], None] = lambda case: None) -> int:
    """Drawn requests for every operation, such as the document allows and such as it does not."""
    done, wrong = 0, []
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @QUIET
            @given(case=operation.as_strategy(generation_mode=mode))
            def attempt(case: Any) -> None:
                nonlocal done
                steer(case)
                case.call_and_validate(
                    headers={"authorization": f"Bearer {token}"}, checks=CHECKS, timeout=20
                )
                done += 1

            if mode is GenerationMode.POSITIVE or operation.body or operation.query:
                try:
                    attempt()
                except FailureGroup as failures:
                    wrong += [f"{operation.label}: {one}" for one in failures.exceptions]
    assert not wrong, "\n\n".join(wrong)
    return done


@pytest.fixture
def gateway(rig: RigMaker) -> Rig:
    running = rig(one=Script())
    running.gateway_state.guesses = Guesses(per_min=1e6)
    return running


def described(running: Rig) -> dict[str, Any]:
    with urllib.request.urlopen(f"{running.gateway.url}{gateway_openapi.PATH}") as answer:
        return dict(json.loads(answer.read()))


def test_the_gateway_keeps_its_document_whatever_is_asked(gateway: Rig) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway.gateway.url}{gateway_openapi.PATH}")

    embedder = ScriptedEmbedder()
    serve(gateway, one=embedder)

    def steer(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # those that are served: what is asked gets to an engine
            case.body["model"] = "e" if case.path == "/v1/embeddings" else "m"

    assert attack(schema, KEY, steer) > 50
    assert gateway.apis["one"].agent.replicas.get("m").engine.jobs
    assert embedder.embedded


def test_the_gateways_document_describes_all_that_it_serves(gateway: Rig) -> None:
    told = described(gateway)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"):
        body = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        name = body["schema"]["$ref"].rpartition("/")[2]
        schema = told["components"]["schemas"][name]
        assert schema["additionalProperties"] is False and "model" in schema["required"]
    chat = told["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"tools", "tool_choice", "response_format", "n"} <= set(chat)
    assert "input" in told["components"]["schemas"]["EmbeddingRequest"]["required"]
    kinds = told["paths"]["/v1/embeddings"]["post"]["responses"]["200"]["content"]
    assert list(kinds) == ["application/json"]
    assert {"/v1/models", "/v1/models/{name}", "/metrics", "/openapi.json"} <= set(told["paths"])
    text = json.dumps(told)
    assert GRID_TOKEN not in text and KEY not in text


def test_the_control_plane_keeps_its_document_whatever_is_asked(tmp_path: Path) -> None:
    publish_upstream(tmp_path / "store", "up", "http://1.1.1.1/v1", "m", None)
    served = Served(control_app(make_plane(tmp_path))).start()
    site = Served(make_site("t", Script(), "http://127.0.0.1:9").app()).start()
    body = {"site": to_plain(Site("t", "hub", "r", compute_cores=1.0)), "url": site.url}
    body |= {"pid": 1, "incarnation": "i"}
    as_site = {"authorization": f"Bearer {GRID}"}
    joined = requests.post(f"{served.url}/grid/v1/join", json=body, headers=as_site, timeout=20)
    assert joined.status_code == 200

    def steer(case: Any) -> None:
        names = {"site": "t", "name": "default", "tenant": "default", "month": "2026-11"}
        for name in case.path_parameters or {}:
            if name in names and case.meta.generation.mode is GenerationMode.POSITIVE:
                case.path_parameters[name] = names[name]

    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    try:
        assert attack(schema, OPERATOR, steer) > 100
    finally:
        site.stop()
        served.stop()
