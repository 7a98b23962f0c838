"""Several answers to one request: told apart, counted once, continued each where it broke off."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.live.conftest import Rig, ask, client, post, until

from aigrid.core.errors import OverloadedError, UnavailableError
from aigrid.engines.engine import Job
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits

RigMaker = Callable[..., Rig]
WORDS = 30
N = 3


def story(job: Job) -> str:
    """Another one for each choice, the last a short one."""
    seed = job.sampling.seed or 0
    words = 5 if seed == 7 + N - 1 else WORDS
    return " ".join(f"w{number}of{seed}" for number in range(words))


def wanted(choice: int) -> str:
    words = 5 if choice == N - 1 else WORDS
    return " ".join(f"w{number}of{7 + choice}" for number in range(words))


MADE = WORDS * (N - 1) + 5
LIVES = Script(answer=story, token_s=0.001)
DIES = Script(answer=story, token_s=0.001, fail_with=UnavailableError("engine died"), fail_at=12)
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "tell me"}],
    "n": N,
    "seed": 7,
}


def read(running: Rig) -> tuple[list[str], list[Any]]:
    texts = [""] * N
    with client(running) as api:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        events = list(api.chat.completions.create(**ASKED, **options))
    for choice in (c for event in events for c in event.choices):
        texts[choice.index] += choice.delta.content or ""
    return texts, events


@pytest.mark.parametrize("scripts", [{"two": LIVES}, {"one": DIES, "two": LIVES}])
def test_streamed_choices_are_whole_even_where_their_site_dies(
    rig: RigMaker, scripts: dict[str, Script]
) -> None:
    running = rig(**scripts)
    for _ in range(4):
        texts, events = read(running)
        assert texts == [wanted(choice) for choice in range(N)]
        choices = [choice for event in events for choice in event.choices]
        assert sorted(c.index for c in choices if c.finish_reason) == [0, 1, 2]
        assert sorted(c.index for c in choices if c.delta.role) == [0, 1, 2]
        assert [e.usage.completion_tokens for e in events if e.usage] == [MADE]
        assert [e.usage.prompt_tokens for e in events if e.usage] == [2]
    resumed = running.gateway_state.forwarder.resumed
    assert (resumed >= 1) is ("one" in scripts)


def test_whole_choices_are_continued_too(rig: RigMaker) -> None:
    slow = {"answer": story, "token_s": 0.03}
    dies = Script(**slow, fail_with=UnavailableError("engine died"), fail_at=25)  # type: ignore[arg-type]
    running = rig(one=dies, two=Script(**slow))  # type: ignore[arg-type]
    for _ in range(2):
        status, _, answer = post(running, json.dumps(ASKED).encode())
        assert status == 200
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        assert texts == [wanted(choice) for choice in range(N)]
        assert answer["usage"]["completion_tokens"] == MADE
    assert running.gateway_state.forwarder.resumed >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_choices_are_billed_as_one_request_with_one_prompt(rig: RigMaker, stream: bool) -> None:
    running = rig(two=LIVES)
    if stream:
        read(running)
    else:
        post(running, json.dumps(ASKED).encode())

    def told() -> list[Any]:
        sent = [body["events"] for what, body in running.control.told if what == "usage"]
        return [event["data"] for events in sent for event in events]

    until(lambda: bool(told()))
    (event,) = told()
    assert (event["prompt_tokens"], event["completion_tokens"]) == (2, MADE)


def test_choices_with_logprobs_have_their_own_offsets(rig: RigMaker) -> None:
    asked = {"model": "m", "prompt": "tell", "n": N, "seed": 7, "logprobs": 1, "max_tokens": 99}
    for scripts in ({"two": LIVES}, {"one": DIES, "two": LIVES}):
        with client(rig(**scripts)) as api:
            offsets: list[list[int]] = [[] for _ in range(N)]
            for event in api.completions.create(**asked, stream=True):  # type: ignore[call-overload]
                for choice in event.choices:
                    offsets[choice.index] += choice.logprobs.text_offset
        for choice, found in enumerate(offsets):
            text = wanted(choice)
            spaces = [place for place, letter in enumerate(text) if letter == " "]
            assert found == [0, *spaces]  # a token begins with its space


def test_one_choice_too_many_for_the_line_refuses_all(rig: RigMaker) -> None:
    full = Script(answer=story, token_s=0.001, queue_limit=N - 1)
    running = rig(limits=Limits(try_for_s=0.2), one=full)
    assert post(running, ask(n=N))[0] == OverloadedError.http_status
    until(lambda: running.apis["one"].agent.replicas.get("m").engine.load().running == 0)
