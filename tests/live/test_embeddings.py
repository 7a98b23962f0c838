"""Embeddings through a gateway: what clients get, what they pay, and sites that die meanwhile."""

import base64
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
from prometheus_client import REGISTRY
from tests.live.conftest import KEY, Rig, client, until
from tests.live.embeddings import DIGEST, ScriptedEmbedder, publish, serve, vector

from aigrid.core.errors import AigridError, InvalidRequestError, UnavailableError
from aigrid.core.package import ServiceSpec
from aigrid.core.tenancy import Quota
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits
from aigrid.live.replicas import Replica

RigMaker = Callable[..., Rig]


def post(
    rig: Rig, path: str = "/v1/embeddings", headers: dict[str, str] | None = None, **body: Any
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(urlsplit(rig.gateway.url).netloc, timeout=20)
    sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    try:
        connection.request("POST", path, json.dumps({"model": "e", **body}), sent | (headers or {}))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def bills(running: Rig, count: int = 1) -> list[dict[str, Any]]:
    """Usage records that the control plane was sent."""

    def sent() -> list[dict[str, Any]]:
        told = [body for what, body in running.control.told if what == "usage"]
        return [event["data"] for body in told for event in body["events"]]

    until(lambda: len(sent()) >= count)
    return sent()


@pytest.fixture
def one(rig: RigMaker) -> Rig:
    running = rig(one=Script())
    serve(running, one=ScriptedEmbedder())
    return running


def test_openai_client_gets_vectors_in_order_with_usage(one: Rig) -> None:
    with client(one) as api:
        several = api.embeddings.create(model="e", input=["one", "two words", "x"])
        single = api.embeddings.create(model="e", input="one", encoding_format="float")
    assert [d.index for d in several.data] == [0, 1, 2]
    for given, found in zip(("one", "two words", "x"), several.data, strict=True):
        np.testing.assert_array_equal(np.float32(found.embedding), vector(given))
    np.testing.assert_array_equal(np.float32(single.data[0].embedding), vector("one"))
    assert several.usage.prompt_tokens == several.usage.total_tokens == 4
    assert several.model == "e" and several.object == "list"


def test_token_ids_dimensions_and_base64(one: Rig) -> None:
    status, headers, body = post(
        one, input=[[1, 2, 3], [4]], dimensions=5, encoding_format="base64", user="u"
    )
    assert status == 200 and headers["x-aigrid-site"] == "one"
    packed = [np.frombuffer(base64.b64decode(d["embedding"]), "<f4") for d in body["data"]]
    np.testing.assert_array_equal(packed, [vector([1, 2, 3], 5), vector([4], 5)])
    assert post(one, input=[7, 8, 9])[2]["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "input", "input is missing"),
        ({"input": ""}, "input", "input 0 is empty"),
        ({"input": []}, "input", "0 inputs, give 1 to 2048"),
        ({"input": ["a"] * 2049}, "input", "2049 inputs, give 1 to 2048"),
        ({"input": ["a", ""]}, "input", "input 1 is empty"),
        ({"input": ["a", [1]] * 2 + [3.5]}, "input", "input 4 is 3.5"),
        ({"input": {"text": "a"}}, "input", "give a text, a list of texts"),
        ({"input": [[1] * 2000] * 151}, "input", "302000 tokens together, the limit is 300000"),
        ({"input": "a", "dimensions": 0}, "dimensions", "dimensions is 0"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "encoding_format is 'hex'"),
        ({"input": "a", "truncate": True}, "truncate", "unknown key 'truncate'"),
        ({"input": "a", "stream": True}, "stream", "unknown key 'stream'"),
    ],
)
def test_what_is_wrong_is_a_400_that_names_it(
    one: Rig, body: dict[str, Any], param: str, said: str
) -> None:
    status, _, answer = post(one, **body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] == param
    assert said in answer["error"]["message"]
    assert bills(one)[0]["prompt_tokens"] == 0


def test_a_model_is_asked_for_what_it_does_only(one: Rig) -> None:
    status, _, answer = post(one, model="m", input="a")
    assert status == 400
    assert answer["error"]["code"] == "model_not_supported"
    assert "'m' is of kind 'chat' and makes no embeddings" in answer["error"]["message"]
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/completions", {"prompt": "a"}),
    ):
        status, _, answer = post(one, path, **body)
        assert status == 400 and answer["error"]["param"] == "model"
        assert "'e' makes embeddings, no text; POST /v1/embeddings" in answer["error"]["message"]
    with client(one) as api:
        assert {m.id: m.kind for m in api.models.list()} == {"m": "chat", "e": "embed"}  # type: ignore[attr-defined]


def test_a_site_refuses_the_wrong_kind_though_its_gateway_did_not_know(rig: RigMaker) -> None:
    running = rig(one=Script())
    spec = ServiceSpec("m", "1", kind="embed")
    replica = Replica(spec, "sha256:0", ScriptedEmbedder())
    running.apis["one"].agent.replicas.serving["m"] = replica  # the table knows no kind
    status, _, answer = post(running, "/v1/completions", model="m", prompt="a")
    assert status == 400 and "makes embeddings, no text" in answer["error"]["message"]


def test_a_bill_has_the_prompt_once_and_no_completion(rig: RigMaker) -> None:
    running = rig(one=Script())
    serve(running, one=ScriptedEmbedder())
    _, headers, _ = post(running, input=["three little words", "and two"])
    bill = bills(running)[0]
    assert bill["request_id"] == headers["x-request-id"]
    told = {k: bill[k] for k in ("service", "package", "prompt_tokens", "completion_tokens")}
    assert told == {
        "service": "e", "package": DIGEST, "prompt_tokens": 5, "completion_tokens": 0,
    }  # fmt: skip
    assert bill["ended"] == "whole" and bill["status"] == 200


def test_long_work_shows_life_and_comes_whole(rig: RigMaker) -> None:
    """Longer than a site may be silent for, and than an answer may make no progress."""
    running = rig(one=Script(), limits=Limits(silent_s=1.5, idle_s=1.6, first_token_s=1.7))
    serve(running, one=ScriptedEmbedder(takes_s=2.5))
    status, _, answer = post(running, input=[f"word {n}" for n in range(50)])
    assert status == 200 and len(answer["data"]) == 50
    assert running.gateway_state.forwarder.retries == 0
    assert bills(running)[0]["prompt_tokens"] == 100


def test_a_site_that_dies_at_work_costs_no_answer_and_one_bill(
    rig: RigMaker, middle: Callable[..., Any]
) -> None:
    running = rig(one=Script(), two=Script())
    slow, quick = ScriptedEmbedder(takes_s=3.0), ScriptedEmbedder()
    serve(running, one=slow, two=quick)
    between = middle(running.sites["one"].url)
    running.control.answer["urls"]["one"] = between.url
    publish(running.control)
    until(lambda: running.gateway_state.mirror.urls.get("one") == between.url)

    def cut() -> None:
        until(lambda: slow.load().running == 1)
        between.cut_at = between.passed + 30  # in the midst of its signs of life

    with ThreadPoolExecutor() as pool:
        cutting = pool.submit(cut)
        for number in range(8):
            status, _, answer = post(running, input=["two words", f"n {number}"])
            assert status == 200 and answer["usage"]["prompt_tokens"] == 4
        cutting.result()
    assert running.gateway_state.forwarder.retries >= 1
    assert quick.embedded == 8
    assert [bill["prompt_tokens"] for bill in bills(running, 8)] == [4] * 8
    until(lambda: slow.left >= 1)  # its place is freed


def test_a_site_that_must_yield_gives_the_work_away(rig: RigMaker) -> None:
    running = rig(one=Script(), two=Script())
    slow, quick = ScriptedEmbedder(takes_s=30.0), ScriptedEmbedder(takes_s=0.2)
    serve(running, one=slow, two=quick)
    running.apis["two"].agent.replicas.share = 0.0  # all go to the first, until it is told to go

    def leave() -> None:
        until(lambda: slow.load().running == 1)
        running.apis["two"].agent.replicas.share = 1.0
        running.apis["one"].agent.leave()

    with ThreadPoolExecutor() as pool:
        leaving = pool.submit(leave)
        status, headers, _ = post(running, input="two words")
        leaving.result()
    assert status == 200 and headers["x-aigrid-site"] == "two"
    assert len(bills(running)) == 1


@pytest.mark.parametrize("takes_s", [0.0, 1.0])
def test_an_engines_refusal_reaches_the_client_early_or_late(rig: RigMaker, takes_s: float) -> None:
    running = rig(one=Script(), two=Script())
    refusal = InvalidRequestError("input 3 has 900 tokens, the model reads 1 to 512")
    engines = [ScriptedEmbedder(takes_s, refusal) for _ in range(2)]
    serve(running, one=engines[0], two=engines[1])
    status, _, answer = post(running, input=["a"] * 4)
    assert status == 400 and "input 3 has 900 tokens" in answer["error"]["message"]
    assert running.gateway_state.forwarder.retries == 0


@pytest.mark.parametrize("takes_s", [0.0, 1.0])
@pytest.mark.parametrize("fault", [UnavailableError("the engine is closed"), ValueError("oh")])
def test_an_engines_fault_goes_to_the_next_site(
    rig: RigMaker, takes_s: float, fault: AigridError | ValueError
) -> None:
    running = rig(one=Script(), two=Script())
    serve(running, one=ScriptedEmbedder(takes_s, fault), two=ScriptedEmbedder())
    answers = [post(running, input="a") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200] * 4
    assert {headers["x-aigrid-site"] for _, headers, _ in answers} == {"two"}


def test_an_idempotency_key_embeds_once_and_answers_twice(rig: RigMaker) -> None:
    running = rig(one=Script(), keep=True)
    engine = ScriptedEmbedder()
    serve(running, one=engine)
    key = {"idempotency-key": "k-1"}
    first = post(running, headers=key, input="two words")
    again = post(running, headers=key, input="two words")
    assert first[2] == again[2] and engine.embedded == 1
    assert again[1]["idempotent-replayed"] == "true"
    assert first[1]["x-request-id"] == again[1]["x-request-id"]
    assert post(running, headers=key, input="others")[0] == 422
    assert len([b for b in bills(running) if b["prompt_tokens"]]) == 1


def test_metrics_count_what_was_read(one: Rig) -> None:
    def read(kind: str) -> float:
        labels = {"service": "e", "type": kind}
        return REGISTRY.get_sample_value("aigrid_gateway_tokens_total", labels) or 0.0

    before = read("input"), read("output")
    post(one, input=["two words", "and these three"])
    bills(one)
    assert (read("input") - before[0], read("output") - before[1]) == (5.0, 0.0)


def test_a_client_that_leaves_frees_its_place(rig: RigMaker) -> None:
    running = rig(one=Script())
    engine = ScriptedEmbedder(takes_s=20.0)
    serve(running, one=engine)
    with client(running, timeout=1.0) as api, pytest.raises(openai.APITimeoutError):
        api.embeddings.create(model="e", input="a")
    until(lambda: engine.left == 1)
    until(lambda: running.gateway_state.forwarder.open_requests == 0)


def test_quota_of_tokens_counts_the_prompt_alone(one: Rig) -> None:
    """A guess of an answer's length, as chat has it, would use a small quota up at once."""
    account = next(iter(one.gateway_state.door._accounts.values()))
    account.tenant = replace(account.tenant, quota=Quota(tokens_per_min=100))
    account.tokens.level = 100.0
    assert [post(one, input="two words")[0] for _ in range(3)] == [200] * 3
    status, _, answer = post(one, input="word " * 200)
    assert status == 429 and "100 tokens a minute" in answer["error"]["message"]
