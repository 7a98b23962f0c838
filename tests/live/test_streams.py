"""Sites die, hang and are paused in mid-answer, and the client reads one undisturbed answer."""

from collections.abc import Callable
from typing import Any

from tests.live.conftest import Rig, ask, client, post

from aigrid.core.errors import UnavailableError
from aigrid.engines.engine import Job
from aigrid.engines.scripted import Script

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
    assert running.gateway_state.forwarder.open_requests == 0


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
