"""What a client of the gateway sees, sites coming and going behind it."""

import http.client
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import openai
import pytest
from tests.live.conftest import KEY, Rig, ask, client, post

from aigrid.core.errors import InvalidRequestError, OverloadedError, UnavailableError
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits

RigMaker = Callable[..., Rig]


def closed_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_openai_client_gets_whole_answers_with_usage(rig: RigMaker) -> None:
    with client(rig(one=Script())) as api:
        answer = api.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
        text = api.completions.create(model="m", prompt="hi")
    assert answer.choices[0].message.content == "you said: hi"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert text.choices[0].text == "you said: hi"


def test_openai_client_streams_and_hears_the_usage(rig: RigMaker) -> None:
    with client(rig(one=Script())) as api:
        stream = api.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        events = list(stream)
    text = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    assert text == "you said: hi"
    assert events[-1].usage is not None and events[-1].usage.completion_tokens == 3


def test_answer_names_the_site(rig: RigMaker) -> None:
    status, headers, _ = post(rig(one=Script()), ask())
    assert status == 200
    assert headers["x-aigrid-site"] == "one"
    assert headers["x-request-id"]


def test_models_are_listed(rig: RigMaker) -> None:
    with client(rig(one=Script())) as api:
        assert [m.id for m in api.models.list()] == ["m"]
        assert api.models.retrieve("m").owned_by == "aigrid"
        with pytest.raises(openai.NotFoundError, match="'x' is not deployed"):
            api.models.retrieve("x")


def test_wrong_key_is_refused_with_the_next_step(rig: RigMaker) -> None:
    status, _, body = post(rig(one=Script()), ask(), key="sk-wrong")
    assert status == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert "aigrid env" in body["error"]["message"]


def test_unknown_model_names_those_that_are_there(rig: RigMaker) -> None:
    body = json.dumps({"model": "gpt-9", "messages": []}).encode()
    status, _, answer = post(rig(one=Script()), body)
    assert status == 404
    assert "'gpt-9' is not deployed here; deployed: m" in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"model": 3}', b"\xff\xfe", b"null"])
def test_malformed_json_is_a_400(rig: RigMaker, body: bytes) -> None:
    status, _, answer = post(rig(one=Script()), body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"


def test_body_of_ten_megabytes_is_a_413_that_names_the_limit(rig: RigMaker) -> None:
    status, _, answer = post(rig(one=Script()), ask("x" * 10_000_000))
    assert status == 413
    assert "the limit is 4194304" in answer["error"]["message"]


def test_chunked_body_over_the_limit_is_a_413(rig: RigMaker) -> None:
    running = rig(one=Script())
    connection = http.client.HTTPConnection(urlsplit(running.gateway.url).netloc, timeout=10)
    chunks = (b"x" * 1_000_000 for _ in range(5))
    headers = {"authorization": f"Bearer {KEY}"}
    connection.request("POST", "/v1/completions", chunks, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_error_of_the_request_itself_is_not_tried_elsewhere(rig: RigMaker) -> None:
    refuse = Script(fail_with=InvalidRequestError("prompt has 900 tokens, the context 512"))
    running = rig(one=refuse, two=refuse)
    status, _, answer = post(running, ask())
    assert status == 400
    assert "900 tokens" in answer["error"]["message"]
    assert running.gateway_state.forwarder.retries == 0


def test_unreachable_site_costs_the_client_nothing(rig: RigMaker) -> None:
    running = rig(dead=closed_url(), alive=Script())
    answers = [post(running, ask()) for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 6
    assert {headers["x-aigrid-site"] for _, headers, _ in answers} == {"alive"}
    for _ in range(100):
        if ("unreachable", {"site": "dead"}) in running.control.told:
            break
        threading.Event().wait(0.02)
    assert ("unreachable", {"site": "dead"}) in running.control.told


def test_full_or_failing_site_hands_on_to_the_next(rig: RigMaker) -> None:
    running = rig(
        full=Script(fail_with=OverloadedError("line is full")),
        broken=Script(fail_with=UnavailableError("engine is closed")),
        good=Script(),
    )
    for _ in range(5):
        assert post(running, ask())[1]["x-aigrid-site"] == "good"


def test_stream_that_fails_before_its_first_token_moves_on(rig: RigMaker) -> None:
    running = rig(broken=Script(fail_with=UnavailableError("gone")), good=Script())
    with client(running) as api:
        for _ in range(4):
            stream = api.completions.create(model="m", prompt="a b", stream=True)
            assert "".join(e.choices[0].text for e in stream) == "you said: a b"


def test_stream_that_breaks_in_the_middle_says_so(rig: RigMaker) -> None:
    broken = Script(fail_with=UnavailableError("engine died"), fail_at=2)
    running = rig(limits=Limits(resume_s=0.2), one=broken)
    with client(running) as api, pytest.raises(openai.APIError, match="engine died"):
        list(api.completions.create(model="m", prompt="a b c d", stream=True))


def test_everybody_full_is_a_429_with_retry_after(rig: RigMaker) -> None:
    full = Script(fail_with=OverloadedError("full"))
    status, headers, answer = post(rig(limits=Limits(try_for_s=0.2), one=full), ask())
    assert status == 429
    assert headers["retry-after"] == "1"
    assert answer["error"]["code"] == "overloaded"


def test_paused_site_is_a_503(rig: RigMaker) -> None:
    running = rig(share=0.0, limits=Limits(try_for_s=0.2), one=Script())
    status, headers, _ = post(running, ask())
    assert status == 503
    assert headers["retry-after"] == "1"


def test_load_spreads_over_equal_sites_and_counters_return_to_zero(rig: RigMaker) -> None:
    running = rig(one=Script(first_token_s=0.02), two=Script(first_token_s=0.02))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(running, ask()), range(60)))
    sites = [headers["x-aigrid-site"] for _, headers, _ in answers]
    assert all(status == 200 for status, _, _ in answers)
    assert 20 <= sites.count("one") <= 40
    assert set(running.gateway_state.mirror.in_flight.values()) == {0}


def test_client_that_leaves_frees_its_place(rig: RigMaker) -> None:
    running = rig(one=Script(first_token_s=30.0))
    parts = urlsplit(running.gateway.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as raw:
        body = ask()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        raw.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        for _ in range(200):
            if running.gateway_state.mirror.in_flight.get("one") == 1:
                break
            threading.Event().wait(0.01)
        assert running.gateway_state.mirror.in_flight["one"] == 1
    for _ in range(300):
        if running.gateway_state.mirror.in_flight["one"] == 0:
            break
        threading.Event().wait(0.01)
    assert running.gateway_state.mirror.in_flight["one"] == 0


def test_sites_answer_to_their_gateway_only(rig: RigMaker) -> None:
    running = rig(one=Script())
    site = Rig(running.control, running.sites["one"], {}, running.gateway_state)
    assert post(site, ask(), key=KEY)[0] == 401


def test_health_metadata_and_metrics(rig: RigMaker) -> None:
    running = rig(one=Script())
    post(running, ask())
    shown = {}
    for served, path in (
        (running.gateway, "/v1/health/ready"),
        (running.gateway, "/metrics"),
        (running.sites["one"], "/v1/health/ready"),
        (running.sites["one"], "/v1/metadata"),
        (running.sites["one"], "/metrics"),
    ):
        connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        shown[served.url + path] = response.read().decode()
        assert response.status == 200
        connection.close()
    text = "\n".join(shown.values())
    assert 'aigrid_gateway_requests_total{service="m",status="200"}' in text
    assert 'aigrid_jobs_total{service="m"} 1.0' in text
    assert '"digest":"sha256:0"' in text.replace(" ", "")
