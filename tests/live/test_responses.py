"""`/v1/responses` through a gateway: sites die, keys repeat, and it is counted as a chat is."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from tests.live.conftest import Rig, client, until
from tests.live.test_streams import DIES, LIVES, TEXT, WORDS

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits

RigMaker = Callable[..., Rig]


def test_responses_are_continued_where_their_site_dies(rig: RigMaker) -> None:
    running = rig(one=DIES, two=LIVES)
    with client(running) as api:
        for _ in range(4):
            events = list(api.responses.create(model="m", input="tell", stream=True))
            deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
            assert "".join(deltas) == TEXT
            last = events[-1]
            assert last.type == "response.completed" and last.response.output_text == TEXT
            assert last.response.usage is not None
            assert last.response.usage.output_tokens == WORDS
            answer = api.responses.create(model="m", input="tell", instructions="be brief")
            assert (answer.status, answer.output_text) == ("completed", TEXT)
    assert running.gateway_state.forwarder.resumed >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_idempotency_key_gives_the_same_response_again(rig: RigMaker, stream: bool) -> None:
    running = rig(keep=True, two=LIVES)
    told = []
    with client(running, default_headers={"idempotency-key": "k1"}) as api:
        for _ in range(2):
            answer = api.responses.create(model="m", input="tell", stream=stream)
            told.append([event.to_dict() for event in answer] if stream else [answer.to_dict()])
        with pytest.raises(openai.UnprocessableEntityError):
            api.chat.completions.create(model="m", messages=[{"role": "user", "content": "tell"}])
    assert told[0] == told[1]
    assert len(running.apis["two"].agent.replicas.get("m").engine.jobs) == 1


def test_a_response_is_billed_as_its_chat(rig: RigMaker) -> None:
    running = rig(two=LIVES)
    with client(running) as api:
        api.responses.create(model="m", input="tell me")

    def told() -> list[Any]:
        sent = [body["events"] for what, body in running.control.told if what == "usage"]
        return [event["data"] for events in sent for event in events]

    until(lambda: bool(told()))
    (used,) = told()
    assert (used["prompt_tokens"], used["completion_tokens"]) == (2, WORDS)


def test_refusals_of_gateway_and_site_are_read_by_the_client(rig: RigMaker) -> None:
    refuses = Script(fail_with=InvalidRequestError("no such voice"))
    with client(rig(one=refuses)) as api:
        with pytest.raises(openai.BadRequestError, match="are not stored"):
            api.responses.create(model="m", input="x", previous_response_id="resp_1")
        with pytest.raises(openai.BadRequestError, match="no such voice"):
            api.responses.create(model="m", input="x")
        with pytest.raises(openai.NotFoundError):
            api.responses.create(model="other", input="x")


def test_a_break_that_nobody_can_mend_is_said(rig: RigMaker) -> None:
    running = rig(limits=Limits(resume_s=0.3), one=DIES)
    with client(running) as api:
        last = list(api.responses.create(model="m", input="tell", stream=True))[-1]
    assert last.type == "error" and "engine died" in last.message


def test_a_parsed_answer_comes_from_the_stream_helper(rig: RigMaker) -> None:
    said = json.dumps({"a": 1})
    running = rig(one=Script(answer=lambda job: said))
    with client(running) as api, api.responses.stream(model="m", input="tell") as stream:
        assert "".join(e.delta for e in stream if e.type == "response.output_text.delta") == said
        assert stream.get_final_response().output_text == said
