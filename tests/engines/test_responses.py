"""The Responses API is the chat API in other words, as the official client reads them."""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.engine import Chunk
from aigrid.engines.openai_answers import Answer, error_body, error_event
from aigrid.engines.openai_api import parse_chat
from aigrid.engines.responses_answers import ResponseWriter
from aigrid.engines.responses_api import chat_body, parse_responses
from aigrid.engines.shape import CallDelta

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SCHEMA = {"type": "object"}
TOOL = {"type": "function", "name": "now", "parameters": SCHEMA, "strict": True}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hello"} | fields


def chat_of(**fields: Any) -> dict[str, Any]:
    body = chat_body(parse_responses(json.dumps(asked(**fields)).encode()))
    parse_chat(body)
    return dict(json.loads(body))


def test_a_text_is_a_users_turn() -> None:
    assert chat_of(store=False) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_every_field_has_its_like() -> None:
    text = {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}
    chat = chat_of(
        instructions="be brief", max_output_tokens=5, temperature=0, top_p=0.5, text=text,
        stream=True, tools=[TOOL], tool_choice={"type": "function", "name": "now"},
        parallel_tool_calls=False, metadata={"k": "v"}, truncation="disabled", include=[],
    )  # fmt: skip
    assert chat["messages"][0] == {"role": "system", "content": "be brief"}
    assert (chat["max_completion_tokens"], chat["temperature"], chat["top_p"]) == (5, 0, 0.5)
    schema = {"name": "s", "schema": SCHEMA, "strict": True}
    assert chat["response_format"] == {"type": "json_schema", "json_schema": schema}
    function = {"name": "now", "parameters": SCHEMA, "strict": True}
    assert chat["tools"] == [{"type": "function", "function": function}]
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "now"}}
    assert chat["stream_options"] == {"include_usage": True}


def test_a_conversation_of_items_with_calls() -> None:
    said = {"type": "output_text", "text": "let me see", "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    call = {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}"}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "when?"}]},
        message | {"content": [said]},
        call | {"id": "fc_1", "status": "completed"},
        call | {"call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
        {"type": "function_call_output", "call_id": "c2", "output": "night"},
        call | {"call_id": "c3"},
        {"type": "function_call_output", "call_id": "c3", "output": "dawn"},
    ]
    messages = chat_of(input=items)["messages"]
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert messages[1]["content"] == "let me see"
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert messages[4]["content"] is None
    assert messages[5] == {"role": "tool", "tool_call_id": "c3", "content": "dawn"}


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "are not stored"),
        ({"store": True}, "store", "not supported"),
        ({"background": True}, "background", "not supported"),
        ({"conversation": "c"}, "conversation", "not supported"),
        ({"include": ["reasoning.encrypted_content"]}, "include", "not supported"),
        ({"reasoning": {"effort": "high"}}, "reasoning", "not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type", "web_search"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0", "item_reference"),
        ({"input": None}, "input", "is missing"),
        ({"input": []}, "input", "input is"),
        ({"max_output_tokens": 0}, "max_output_tokens", "is 0"),
        ({"messages": []}, "messages", "unknown key"),
        ({"n": 2}, "n", "unknown key"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        chat_of(**fields)
    assert json.loads(error_body(caught.value))["error"]["param"] == param


CHUNKS = [Chunk("Hé ", 5, 2), Chunk("you", 5, 3), Chunk("", 5, 4, "stop")]
CALLING = [
    Chunk("see ", 5, 2),
    Chunk("", 5, 3, None, (), (), (CallDelta(0, "", "c0", "now"), CallDelta(0, '{"a":'))),
    Chunk("", 5, 4, None, (), (), (CallDelta(0, "1}"), CallDelta(1, "{}", "c1", "now"))),
    Chunk("", 5, 5, "tool_calls"),
]


def writer(**fields: Any) -> ResponseWriter:
    return ResponseWriter(parse_responses(json.dumps(asked(**fields)).encode()).echo())


def chat_answer() -> Answer:
    return Answer("chatcmpl-req-abc", "m", 1700, chat=True, include_usage=True)


def streamed(chunks: list[Chunk], piece: int = 1, **fields: Any) -> list[Any]:
    """Events, where so many events of chat come at once."""
    chat = chat_answer()
    stream = chat.first_event() + b"".join(map(chat.event, chunks))
    blocks = [block + b"\n\n" for block in stream.split(b"\n\n") if block]
    made = writer(**fields)
    out = b"".join(
        made.events(b"".join(blocks[at : at + piece])) for at in range(0, len(blocks), piece)
    )
    told = []
    for block in out.split(b"\n\n"):
        if block:
            kind, _, data = block.partition(b"\n")
            told.append(EVENT.validate_json(data.removeprefix(b"data: ")))
            assert told[-1].type == kind.removeprefix(b"event: ").decode()
    assert [event.sequence_number for event in told] == list(range(len(told)))
    return told


@pytest.mark.parametrize("piece", [1, 2, 99])
def test_a_stream_has_the_typed_events_in_order(piece: int) -> None:
    events = streamed(CHUNKS, piece)
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "output_text.delta", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    last = events[-1].response
    assert (last.id, last.status, last.output_text, last.store) == (
        "resp_abc", "completed", "Hé you", False,
    )  # fmt: skip
    assert (last.usage.input_tokens, last.usage.output_tokens, last.usage.total_tokens) == (5, 4, 9)
    assert events[0].response.output == [] and events[0].response.usage is None


def test_a_stream_of_calls() -> None:
    events = streamed(CALLING, tools=[TOOL])
    last = events[-1].response
    assert [item.type for item in last.output] == ["message", "function_call", "function_call"]
    assert [item.arguments for item in last.output[1:]] == ['{"a":1}', "{}"]
    assert {item.status for item in last.output} == {"completed"}
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [(e.output_index, e.arguments) for e in done] == [(1, '{"a":1}'), (2, "{}")]


@pytest.mark.parametrize("chunks", [CHUNKS, CALLING, [Chunk("cut", 5, 9, "length")]])
def test_a_whole_answer_is_what_its_stream_comes_to(chunks: list[Chunk]) -> None:
    whole = Response.model_validate_json(writer().body(chat_answer().body(chunks)))
    last = streamed(chunks)[-1].response
    assert whole.to_dict() == last.to_dict()
    assert (whole.status == "incomplete") is (chunks[-1].finish_reason == "length")


def test_an_answer_without_text_is_an_empty_message() -> None:
    events = streamed([Chunk("", 5, 1, "stop")])
    assert events[-1].response.output[0].content[0].text == ""


def test_a_break_in_mid_answer_is_an_error_event() -> None:
    chat, made = chat_answer(), writer()
    made.events(chat.first_event())
    (block, rest) = made.events(error_event(InvalidRequestError("no such voice"))).split(b"\n\n")
    kind, _, data = block.partition(b"\n")
    assert kind == b"event: error" and "no such voice" in json.loads(data[6:])["message"]
    assert rest == b""


def test_a_refusal_names_the_field_as_it_is_called_here() -> None:
    body = json.dumps({"error": {"message": "x", "param": "response_format"}}).encode()
    assert json.loads(ResponseWriter.error(body))["error"]["param"] == "text.format"
    assert ResponseWriter.error(b"no json") == b"no json"
