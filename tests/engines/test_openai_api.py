"""Requests are read strictly; answers are what the official client reads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from aigrid.core.errors import AuthenticationError, InvalidRequestError, OverloadedError
from aigrid.engines.engine import Chunk, Message, Sampling, TokenLogprob
from aigrid.engines.openai_answers import DONE, Answer, error_body, error_event
from aigrid.engines.openai_api import (
    parse_chat,
    parse_completion,
    peek,
    request_body,
    to_job,
    to_jobs,
)
from aigrid.engines.openai_stream import StreamReader
from aigrid.engines.shape import CallDelta, ToolCall, whole_calls

HELLO = [{"role": "user", "content": "hello"}]


def chat_body(**changes) -> bytes:
    return json.dumps({"model": "m", "messages": HELLO} | changes).encode()


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def turn(**changes) -> list[dict]:
    return [HELLO[0] | changes]


def function(name: str = "now", **more) -> dict:
    return {"type": "function", "function": {"name": name} | more}


def called(arguments: str) -> dict:
    return function(arguments=arguments) | {"id": "c1"}


NOW, CALLED = function(), called("{}")


def completion_body(**changes) -> bytes:
    return json.dumps({"model": "m", "prompt": "once"} | changes).encode()


def test_a_full_chat_request_becomes_a_job():
    request = parse_chat(
        chat_body(
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [text_part("a"), text_part("b")]},
            ],
            max_completion_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=["x", "y"],
            logprobs=True, top_logprobs=2, stream=True, stream_options={"include_usage": True},
            user="u", n=1, metadata={"k": "v"}, presence_penalty=0, frequency_penalty=0.0,
            logit_bias={}, tools=None,
        )
    )  # fmt: skip
    job = to_job(request, "j1")
    assert job.messages == (Message("system", "be brief"), Message("user", "ab"))
    assert job.sampling == Sampling(7, 0.5, 0.9, 3, ("x", "y"), True, 2)
    assert request.stream
    assert request.include_usage


@pytest.mark.parametrize(
    ("prompt", "wanted"), [("once", "once"), (["once"], "once"), ([1, 2], (1, 2))]
)
def test_prompts_of_each_form(prompt, wanted):
    assert to_job(parse_completion(completion_body(prompt=prompt)), "j").prompt == wanted


def test_defaults_are_those_of_the_openai_api():
    assert to_job(parse_chat(chat_body()), "j").sampling == Sampling()
    assert to_job(parse_completion(completion_body()), "j").sampling == Sampling(max_tokens=16)


UNKNOWN, UNSUPPORTED = "unknown_parameter", "unsupported_parameter"
INVALID = "invalid_request_error"


@pytest.mark.parametrize(
    ("changes", "param", "code", "message"),
    [
        ({"temprature": 1}, "temprature", UNKNOWN, "unknown key 'temprature'"),
        ({"n": 9}, "n", INVALID, "n is 9"),
        ({"presence_penalty": 0.5}, "presence_penalty", UNSUPPORTED, "is 0.5"),
        ({"best_of": 2}, "best_of", UNSUPPORTED, "leave best_of out"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", INVALID, "is missing"),
        ({"tools": [{"type": "magic"}]}, "tools.0.type", INVALID, "magic"),
        ({"tools": [NOW, NOW]}, "tools", INVALID, "twice"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name",
            INVALID,
            "a b",
        ),
        (
            {"tools": [function(parameters={"type": "string"})]},
            "tools.0.function.parameters",
            INVALID,
            "of type 'object'",
        ),
        ({"tool_choice": "required"}, "tool_choice", INVALID, "without tools"),
        (
            {"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "then"}}},
            "tool_choice",
            INVALID,
            "'then'",
        ),
        ({"functions": [{}]}, "functions", UNSUPPORTED, "leave functions out"),
        ({"response_format": {"type": "xml"}}, "response_format", INVALID, "xml"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.json_schema.name",
            INVALID,
            "is missing",
        ),
        ({"messages": turn(role="tool")}, "messages.0.tool_call_id", INVALID, "is missing"),
        ({"messages": turn(tool_call_id="x")}, "messages.0.tool_call_id", INVALID, "'user'"),
        ({"messages": turn(tool_calls=[CALLED])}, "messages.0.tool_calls", INVALID, "'user'"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [called("[1]")]}]},
            "messages.0.tool_calls.0.function.arguments",
            INVALID,
            "no JSON object",
        ),
        ({"temperature": 3}, "temperature", INVALID, "temperature is 3"),
        ({"temperature": "0.5"}, "temperature", INVALID, "temperature is '0.5'"),
        ({"top_p": 0}, "top_p", INVALID, "top_p is 0"),
        ({"max_tokens": 0}, "max_tokens", INVALID, "max_tokens is 0"),
        ({"max_tokens": True}, "max_tokens", INVALID, "max_tokens is True"),
        ({"seed": 2**70}, "seed", INVALID, "seed is"),
        ({"stop": [""]}, "stop.0", INVALID, "stop.0 is ''"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", INVALID, "at most 4"),
        ({"stop": 5}, "stop", INVALID, "stop is 5"),
        ({"stream": "yes"}, "stream", INVALID, "stream is 'yes'"),
        ({"model": ""}, "model", INVALID, "model is ''"),
        ({"model": None}, "model", INVALID, "model is None"),
        ({"messages": []}, "messages", INVALID, "messages is \\[\\]"),
        ({"messages": "hi"}, "messages", INVALID, "messages is 'hi'"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", INVALID, "is missing"),
        ({"messages": turn(role="king")}, "messages.0.role", INVALID, "'king'"),
        ({"messages": turn(colour=1)}, "messages.0.colour", UNKNOWN, "colour"),
        ({"messages": turn(content=None)}, "messages.0.content", INVALID, "is None"),
        (
            {"messages": turn(content=[{"type": "image_url"}])},
            "messages.0.content.0.type",
            INVALID,
            "text",
        ),
        ({"top_logprobs": 3}, "top_logprobs", INVALID, "set logprobs to true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", INVALID, "top_logprobs is 21"),
        ({"stream_options": {"usage": True}}, "stream_options.usage", UNKNOWN, "usage"),
    ],
)
def test_bad_chat_requests_name_the_field(changes, param, code, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        parse_chat(chat_body(**changes))
    described = json.loads(error_body(caught.value))["error"]
    assert described["param"] == param
    assert described["code"] == code
    assert described["type"] == "invalid_request_error"
    assert "\n" not in described["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, "b"]}, "prompt"),
        ({"prompt": {}}, "give one text, or a list of token ids"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": "\ud800"}, "the body is not valid JSON"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": True}, "echo is True, which is not supported"),
        ({"messages": HELLO}, "unknown key 'messages'"),
    ],
)
def test_bad_completion_requests_name_the_field(changes, message):
    with pytest.raises(InvalidRequestError, match=message):
        parse_completion(completion_body(**changes))


@pytest.mark.parametrize("read", [parse_chat, parse_completion, peek])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"model": "\\udc00"}',
    ],
)
def test_bodies_that_are_no_json_object(read, body):
    with pytest.raises(InvalidRequestError, match="the body is") as caught:
        read(body)
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"model": "m"}', ("m", False)),
        (b'{"model": "m", "stream": true, "what": 1}', ("m", True)),
        (b'{"model": "m", "stream": null}', ("m", False)),
    ],
)
def test_peek_finds_model_and_stream(body, wanted):
    assert peek(body) == wanted


@pytest.mark.parametrize("body", [b"{}", b'{"model": 3}', b'{"model": "m", "stream": 1}'])
def test_peek_refuses_wrong_types(body):
    with pytest.raises(InvalidRequestError):
        peek(body)


CHUNKS = [
    Chunk('He "said"\n', 5, 2),
    Chunk("", 5, 3),
    Chunk(" 日本", 5, 4),
    Chunk("!", 5, 6, "stop"),
]
ENTRIES = (
    TokenLogprob("é", 4, -0.5, (("é", -0.5), ("e", -1.5))),
    TokenLogprob("x", 5, -0.25, (("x", -0.25), ("y", -2.0))),
)


def data_of(stream: bytes) -> list[bytes]:
    return [line[6:] for line in stream.split(b"\n\n") if line]


@pytest.mark.parametrize("include_usage", [True, False])
def test_chat_events_are_what_the_official_client_reads(include_usage):
    answer = Answer("chatcmpl-1", "m", 1700, chat=True, include_usage=include_usage)
    stream = answer.first_event() + b"".join(answer.event(c) for c in CHUNKS)
    *events, done = data_of(stream)
    assert done == b"[DONE]"
    read = [ChatCompletionChunk.model_validate_json(e) for e in events]
    text = "".join(c.choices[0].delta.content or "" for c in read if c.choices)
    assert text == 'He "said"\n 日本!'
    assert read[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in read if c.choices][-1] == "stop"
    assert {(c.id, c.model, c.created, c.object) for c in read} == {
        ("chatcmpl-1", "m", 1700, "chat.completion.chunk")
    }
    assert (read[-1].usage is not None) is include_usage
    if include_usage:
        assert (read[-1].usage.prompt_tokens, read[-1].usage.total_tokens) == (5, 11)


def test_whole_chat_answer():
    chunks = [*CHUNKS[:-1], Chunk("!", 5, 6, "stop", ENTRIES)]
    body = Answer("chatcmpl-1", "m", 1700, chat=True, logprobs=True).body(chunks)
    read = ChatCompletion.model_validate_json(body)
    assert read.choices[0].message.content == 'He "said"\n 日本!'
    assert read.choices[0].finish_reason == "stop"
    assert read.usage.completion_tokens == 6
    first = read.choices[0].logprobs.content[0]
    assert (first.token, first.bytes, first.logprob) == ("é", [195, 169], -0.5)
    assert [t.token for t in first.top_logprobs] == ["é", "e"]


def test_completion_answers_streamed_and_whole():
    chunks = [Chunk("éx", 1, 2, None, ENTRIES), Chunk("éx", 1, 4, "length", ENTRIES)]
    answer = Answer("cmpl-1", "m", 1700, chat=False, logprobs=True)
    *events, _ = data_of(answer.first_event() + b"".join(answer.event(c) for c in chunks))
    read = [Completion.construct(**json.loads(e)) for e in events]  # as the client does
    assert [c.choices[0].logprobs.text_offset for c in read] == [[0, 1], [2, 3]]
    whole = Answer("cmpl-1", "m", 1700, chat=False, logprobs=True).body(chunks)
    body = Completion.model_validate_json(whole)
    assert body.choices[0].text == "éxéx"
    assert body.choices[0].logprobs.tokens == ["é", "x", "é", "x"]
    assert body.choices[0].logprobs.token_logprobs[1] == -0.25
    assert body.choices[0].finish_reason == "length"


@pytest.mark.parametrize("chat", [True, False])
def test_what_we_write_we_can_read(chat):
    answer = Answer("id", "m", 1, chat=chat, include_usage=True, logprobs=True)
    chunks = [Chunk("éx", 5, 2, None, ENTRIES), Chunk("!", 5, 3, "length")]
    stream = answer.first_event() + b"".join(answer.event(c) for c in chunks)
    reader = StreamReader(chat=chat)
    read = [chunk for line in stream.split(b"\n") for chunk in reader.feed(line)]
    assert "".join(c.text for c in read) == "éx!"
    assert [e.top for e in read[0].logprobs] == [e.top for e in ENTRIES]
    assert reader.done
    assert reader.last_chunk() == Chunk("", 5, 3, "length")


def test_tools_and_formats_go_upstream_as_they_came():
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
    body = chat_body(
        messages=[
            *HELLO,
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALLED]},
            {"role": "tool", "tool_call_id": "c1", "content": "noon"},
        ],
        tools=[NOW, function("later", parameters={"type": "object"}, strict=True)],
        tool_choice={"type": "function", "function": {"name": "later"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": schema},
    )
    job = to_job(parse_chat(body), "j")
    assert job.messages[1:] == (
        Message("assistant", "", (ToolCall("c1", "now", "{}"),)),
        Message("tool", "noon", (), "c1"),
    )
    sent = request_body(job, "other")
    asked = json.loads(body)
    for name in ("tools", "tool_choice", "parallel_tool_calls", "response_format"):
        assert sent[name] == asked[name]
    assert to_job(parse_chat(json.dumps(sent).encode()), "j") == job


def test_choices_have_seeds_that_count_on_and_ids_of_their_own():
    jobs = to_jobs(parse_chat(chat_body(n=3, seed=5)), "j")
    assert [job.sampling.seed for job in jobs] == [5, 6, 7]
    assert len({job.job_id for job in jobs}) == 3 and jobs[0].job_id == "j"
    assert len(to_jobs(parse_completion(completion_body(n=2)), "j")) == 2


def test_a_job_goes_upstream_as_it_came():
    body = chat_body(max_tokens=5, temperature=0, seed=1, stop="x", logprobs=True, top_logprobs=2)
    job = to_job(parse_chat(body), "j")
    again = parse_chat(json.dumps(request_body(job, "other")).encode())
    assert to_job(again, "j") == job
    assert (again.model, again.stream, again.include_usage) == ("other", True, True)
    job = to_job(parse_completion(completion_body(prompt=[1, 2], logprobs=0)), "j")
    again = parse_completion(json.dumps(request_body(job, "other")).encode())
    assert to_job(again, "j") == job


CALLS = [
    Chunk("see ", 5, 2),
    Chunk("", 5, 4, None, (), (), (CallDelta(0, "", "c0", "now"), CallDelta(0, '{"a":'))),
    Chunk("", 5, 6, None, (), (), (CallDelta(0, "1}"), CallDelta(1, "{}", "c1", "later"))),
    Chunk("", 5, 7, "tool_calls"),
]
WANTED = [ToolCall("c0", "now", '{"a":1}'), ToolCall("c1", "later", "{}")]


def test_tool_calls_streamed_and_whole():
    stream = b"".join(map(Answer("id", "m", 1, chat=True).event, CALLS))
    reader = StreamReader(chat=True)
    read = [chunk for line in stream.split(b"\n") for chunk in reader.feed(line)]
    assert whole_calls([delta for chunk in read for delta in chunk.calls]) == WANTED
    assert reader.last_chunk().finish_reason == "tool_calls"
    *events, _ = map(ChatCompletionChunk.model_validate_json, data_of(stream)[:-1])
    assert events[1].choices[0].delta.tool_calls[0].function.name == "now"
    body = ChatCompletion.model_validate_json(Answer("id", "m", 1, chat=True).body(CALLS))
    message = body.choices[0].message
    assert (message.content, body.choices[0].finish_reason) == ("see ", "tool_calls")
    assert [c.function.arguments for c in message.tool_calls] == ['{"a":1}', "{}"]


@pytest.mark.parametrize("chat", [True, False])
def test_several_choices_in_one_answer(chat):
    chunks = [
        Chunk("a", 5, 1),
        replace(Chunk("x", 5, 1), choice=1),
        Chunk("b", 5, 2, "stop"),
        replace(Chunk("y", 5, 3, "length"), choice=1),
    ]
    answer = Answer("id", "m", 1, chat=chat, choices=2, include_usage=True)
    stream = answer.first_event() + b"".join(map(answer.event, chunks))
    assert answer.ended and stream.count(DONE) == 1
    events = [json.loads(event) for event in data_of(stream)[:-1]]
    texts = {0: "", 1: ""}
    for choice in (c for event in events for c in event["choices"]):
        texts[choice["index"]] += choice.get("text") or choice.get("delta", {}).get("content", "")
    assert texts == {0: "ab", 1: "xy"}
    assert [e["usage"]["completion_tokens"] for e in events if e.get("usage")] == [5]
    whole = json.loads(Answer("id", "m", 1, chat=chat, choices=2).body(chunks))
    assert [c["finish_reason"] for c in whole["choices"]] == ["stop", "length"]
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (AuthenticationError("no key"), "authentication_error", "invalid_api_key"),
        (OverloadedError("full", next_step="wait"), "rate_limit_error", "overloaded"),
    ],
)
def test_error_bodies(error, kind, code):
    described = json.loads(error_body(error))["error"]
    assert described == {"message": str(error), "type": kind, "param": None, "code": code}
    assert error_event(error).endswith(DONE)
