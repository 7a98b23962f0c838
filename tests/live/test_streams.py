"""Sites die, hang and are paused in mid-answer, and the client reads one undisturbed answer."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from tests.live.conftest import KEY, Rig, ask, client, post, until

from aigrid.core.errors import InvalidRequestError, UnavailableError
from aigrid.engines.engine import Job
from aigrid.engines.scripted import Script
from aigrid.live.bounded import BoundedWriter
from aigrid.live.limits import Limits

RigMaker = Callable[..., Rig]
WORDS = 60


def story(job: Job) -> str:
    return " ".join(f"word{number}" for number in range(WORDS))


TEXT = story(Job("", None))  # type: ignore[arg-type]
DIES = Script(answer=story, token_s=0.001, fail_with=UnavailableError("engine died"), fail_at=25)
LIVES = Script(answer=story, token_s=0.001)


def read_stream(rig: Rig, **more: Any) -> tuple[str, list[Any]]:
    with client(rig) as api:
        events = list(
            api.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "tell"}],
                stream=True,
                stream_options={"include_usage": True},
                **more,
            )
        )
    return "".join(e.choices[0].delta.content or "" for e in events if e.choices), events


def test_broken_stream_is_continued_without_gap_repeat_or_second_count(rig: RigMaker) -> None:
    running = rig(one=DIES, two=LIVES)
    for _ in range(6):
        text, events = read_stream(running)
        assert text == TEXT
        assert len({e.id for e in events}) == len({e.created for e in events}) == 1
        assert [e.usage.completion_tokens for e in events if e.usage] == [WORDS]
        assert sum(bool(e.choices and e.choices[0].finish_reason) for e in events) == 1
        assert sum(bool(e.choices and e.choices[0].delta.role) for e in events) == 1
    assert running.gateway_state.forwarder.resumed >= 2
    until(lambda: running.gateway_state.forwarder.open_requests == 0)


def test_broken_completion_keeps_its_logprobs_and_offsets(rig: RigMaker) -> None:
    ask_for = {"model": "m", "prompt": "tell", "logprobs": 1, "max_tokens": WORDS, "stream": True}
    seen = []
    for scripts in ({"two": LIVES}, {"one": DIES, "two": LIVES}):
        with client(rig(**scripts)) as api:
            for _ in range(2):
                events = list(api.completions.create(**ask_for))  # type: ignore[call-overload]
                told = [e.choices[0].logprobs for e in events]
                tokens = [t for logprobs in told for t in logprobs.tokens]
                seen.append((tokens, [o for logprobs in told for o in logprobs.text_offset]))
    assert all(one == seen[0] for one in seen)


def test_whole_answer_is_continued_too(rig: RigMaker) -> None:
    slow = {"answer": story, "token_s": 0.02}
    dies = Script(**slow, fail_with=UnavailableError("engine died"), fail_at=40)  # type: ignore[arg-type]
    running = rig(one=dies, two=Script(**slow))  # type: ignore[arg-type]
    for _ in range(2):
        status, _, answer = post(running, ask())
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == TEXT
        assert answer["usage"]["completion_tokens"] == WORDS
    assert running.gateway_state.forwarder.resumed >= 1


def test_whole_answer_whose_version_is_gone_is_given_by_the_next(rig: RigMaker) -> None:
    dies = Script(story, token_s=0.02, fail_with=UnavailableError("engine died"), fail_at=40)
    running = rig(one=dies, two=Script(lambda job: f"new {story(job)}", token_s=0.001))
    running.apis["two"].agent.replicas.serving["m"].digest = "sha256:1"
    answers = [post(running, ask()) for _ in range(4)]
    assert [status for status, *_ in answers] == [200] * 4
    for _, _, answer in answers:
        assert answer["choices"][0]["message"]["content"] == f"new {TEXT}"
        assert answer["usage"]["completion_tokens"] == WORDS + 1
    assert running.gateway_state.forwarder.resumed >= 1


# -- sites that hang, break off, leave and are paused ------------------------------------------


def between(running: Rig, middle: Callable[..., Any], site: str, **behaviour: float) -> Any:
    """Put something bad before a site that serves already."""
    bad = middle(running.sites[site].url)
    for name, at in behaviour.items():
        setattr(bad, name, at)
    urls = dict(running.gateway_state.mirror.urls)
    running.control.publish(urls | {site: bad.url}, [1.0 / len(urls)] * len(urls))
    until(lambda: running.gateway_state.mirror.urls[site] == bad.url)
    return bad


@pytest.mark.parametrize("stream", [False, True])
def test_site_that_takes_and_never_answers_is_left(
    rig: RigMaker, middle: Callable[..., Any], stream: bool
) -> None:
    hole = middle()
    running = rig(limits=Limits(silent_s=2.0), hole=hole.url, two=LIVES)
    for _ in range(4):
        if stream:
            assert read_stream(running)[0] == TEXT
        else:
            assert post(running, ask())[2]["choices"][0]["message"]["content"] == TEXT
    told = running.control.told
    until(lambda: ("unreachable", {"site": "hole"}) in told)
    assert told.count(("unreachable", {"site": "hole"})) == 1
    assert running.gateway_state.forwarder.retries == 1


@pytest.mark.parametrize("fault", ["freeze_at", "cut_at"])
@pytest.mark.parametrize("at", [0, 700, 7000])
def test_middle_that_freezes_or_cuts_anywhere_leaves_no_gap(
    rig: RigMaker, middle: Callable[..., Any], fault: str, at: int
) -> None:
    running = rig(limits=Limits(silent_s=0.5), one=LIVES, two=LIVES)
    between(running, middle, "one", **{fault: at})
    for _ in range(2):
        text, events = read_stream(running)
        assert text == TEXT
        assert [e.usage.completion_tokens for e in events if e.usage] == [WORDS]
        assert sum(bool(e.choices and e.choices[0].finish_reason) for e in events) == 1
    assert running.gateway_state.forwarder.retries >= 1
    until(lambda: set(running.gateway_state.mirror.in_flight.values()) == {0})


def test_site_that_only_waits_is_not_taken_for_silent(rig: RigMaker) -> None:
    running = rig(limits=Limits(silent_s=1.5), one=Script(answer=story, first_token_s=2.5))
    assert read_stream(running)[0] == TEXT
    assert post(running, ask())[0] == 200
    assert running.gateway_state.forwarder.retries == 0


@pytest.mark.parametrize("stream", [False, True])
def test_refusal_after_a_long_wait_is_still_a_status(rig: RigMaker, stream: bool) -> None:
    late = Script(first_token_s=0.8, fail_with=InvalidRequestError("no such voice"))
    status, _, answer = post(rig(one=late), ask(stream=stream))
    assert status == 400
    assert "no such voice" in answer["error"]["message"]


@pytest.mark.parametrize("why", ["shuts down", "is paused", "has notice"])
def test_site_that_gives_up_its_compute_hands_its_streams_on(rig: RigMaker, why: str) -> None:
    slow = Script(answer=story, token_s=0.04)
    running = rig(one=slow, two=slow)
    with ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(read_stream, running) for _ in range(8)]
        agent = running.apis["one"].agent
        load = agent.replicas.get("m").engine.load
        until(lambda: load().running == 4 and load().tokens_total >= 16)  # all have begun
        if why == "shuts down":
            agent.leave()
        elif why == "is paused":
            agent.handover.paused_since_s = time.monotonic()
            agent.replicas.set_share(0.0)
        else:
            agent.handover.heed_notice(0.0, 0.2, time.monotonic())
        assert [text.result()[0] for text in texts] == [TEXT] * 8
    assert running.gateway_state.forwarder.resumed == 4
    assert agent.replicas.get("m").engine.load().running == 0


def test_nobody_can_go_on_ends_in_one_error_event(rig: RigMaker) -> None:
    running = rig(limits=Limits(resume_s=0.3), one=DIES)
    connection, response = open_stream(running)
    blocks = response.read().decode().split("\n\n")
    connection.close()
    assert blocks[-2:] == ["data: [DONE]", ""]
    errors = [json.loads(b[6:])["error"] for b in blocks[:-2] if '"error"' in b]
    assert len(errors) == 1 and "engine died" in errors[0]["message"]
    assert not any(block.startswith(":") for block in blocks)


@pytest.mark.parametrize("at", [25, 30])
def test_refusal_in_mid_stream_is_said_and_ends_it(rig: RigMaker, at: int) -> None:
    refuses = Script(answer=story, fail_with=InvalidRequestError("no such voice"), fail_at=at)
    connection, response = open_stream(rig(one=DIES, two=refuses))
    blocks = response.read().decode().split("\n\n")
    connection.close()
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert sum('"error"' in block for block in blocks) == 1


# -- clients that leave, and clients that do not read ------------------------------------------


def open_stream(rig: Rig, text: str = "tell") -> tuple[Any, Any]:
    connection = http.client.HTTPConnection(urlsplit(rig.gateway.url).netloc, timeout=20)
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    headers = {"authorization": f"Bearer {KEY}"}
    connection.request("POST", "/v1/chat/completions", ask(text, stream=True), headers)
    return connection, connection.getresponse()


def leave(connection: Any, response: Any) -> None:
    response.close()
    connection.close()


def idle(running: Rig) -> bool:
    """Nothing is open at the gateway, nothing runs at a site."""
    state = running.gateway_state
    jobs = [api.agent.replicas.get("m").engine.load().running for api in running.apis.values()]
    return not any([state.forwarder.open_requests, *state.mirror.in_flight.values(), *jobs])


def test_client_that_leaves_in_mid_stream_frees_its_place(rig: RigMaker) -> None:
    running = rig(one=Script(answer=story, token_s=0.5))
    connection, response = open_stream(running)
    assert response.readline()
    assert not idle(running)
    leave(connection, response)
    until(lambda: idle(running))


def test_client_that_leaves_before_the_first_token_frees_its_place(rig: RigMaker) -> None:
    running = rig(one=Script(answer=story, first_token_s=60.0))
    with socket.create_connection(("127.0.0.1", urlsplit(running.gateway.url).port or 0)) as raw:
        body = ask(stream=True)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        raw.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        until(lambda: running.apis["one"].agent.replicas.get("m").engine.load().running == 1)
    until(lambda: idle(running))


def test_client_that_does_not_read_is_cut_off_and_holds_nothing(
    rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedWriter, "reader_s", 0.5)
    long = " ".join(["x" * 100_000] * 400)
    running = rig(one=Script(answer=lambda job: long))
    connection, response = open_stream(running)
    until(lambda: idle(running))
    leave(connection, response)


def test_counters_come_back_to_zero_whatever_clients_and_sites_do(rig: RigMaker) -> None:
    flaky = Script(answer=story, token_s=0.002, fail_with=UnavailableError("died"), fail_at=30)
    full = Script(answer=story, token_s=0.002, queue_limit=3)
    running = rig(limits=Limits(try_for_s=2.0, resume_s=2.0), one=flaky, two=full, three=LIVES)
    low: list[int] = []

    def one(number: int) -> None:
        connection, response = open_stream(running)
        low.append(min(running.gateway_state.mirror.in_flight.values()))
        if number % 3 == 0:
            leave(connection, response)
        elif number % 3 == 1:
            response.read(200 + number * 31)
            leave(connection, response)
        else:
            response.read()
            connection.close()

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(one, range(150)))
    until(lambda: idle(running))
    assert min(low) >= 0


# -- limits ------------------------------------------------------------------------------------


def test_one_request_too_many_is_a_429(rig: RigMaker) -> None:
    running = rig(limits=Limits(open_requests=1), one=Script(answer=story, token_s=0.5))
    connection, response = open_stream(running)
    status, headers, answer = post(running, ask())
    assert (status, headers["retry-after"]) == (429, "1")
    assert "1 requests are open" in answer["error"]["message"]
    leave(connection, response)


def test_first_token_and_the_whole_have_their_time(rig: RigMaker) -> None:
    late = rig(limits=Limits(first_token_s=0.5), one=Script(first_token_s=30.0))
    status, headers, answer = post(late, ask(stream=True))
    assert (status, headers["retry-after"]) == (503, "1")
    assert "no token within" in answer["error"]["message"]
    long = rig(limits=Limits(whole_s=0.5), one=Script(answer=story, token_s=0.1))
    with client(long) as api, pytest.raises(openai.APIError, match="not ended within"):
        list(api.completions.create(model="m", prompt="a", stream=True))
    until(lambda: idle(long))


def test_stream_that_is_alive_but_says_nothing_goes_on_elsewhere(rig: RigMaker) -> None:
    running = rig(limits=Limits(idle_s=0.6), one=LIVES, two=LIVES)
    running.apis["one"].agent.replicas.get("m").engine.set_gate(stuck_after(30))
    for _ in range(2):
        assert read_stream(running)[0] == TEXT
    assert running.gateway_state.forwarder.resumed >= 1


def stuck_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is not None
