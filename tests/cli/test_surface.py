"""The whole OpenAI surface of a running grid, by the official client."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from aigrid.live.client import ControlClient
from tests.cli.conftest import spawn

pytestmark = pytest.mark.grid
SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "lamps": {"type": "integer", "minimum": 0, "maximum": 99},
        "lit": {"type": "boolean"},
    },
    "required": ["colour", "lamps", "lit"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "lamps", "schema": SCHEMA, "strict": True}}
SWITCH = {"name": "switch", "parameters": SCHEMA, "strict": True}
TOOLS = [{"type": "function", "function": SWITCH}]
ASKED: list[Any] = [{"role": "user", "content": "which lamp?"}]
TEMPLATE = (
    "{% for tool in tools or [] %}<tool_call>{{ tool.function.name }}{% endfor %}"
    "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
)


class Lamps(BaseModel):
    """What `SCHEMA` says."""

    colour: Literal["red", "green", "blue"]
    lamps: int = Field(ge=0, le=99)
    lit: bool


@pytest.fixture
def api(grid: Path) -> Iterator[openai.OpenAI]:
    known = ControlClient(grid)
    with openai.OpenAI(base_url=known.base_url, api_key=known.api_key, max_retries=2) as api:
        yield api


@pytest.fixture(scope="module")
def caller(grid: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same model with a template that knows tools."""
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("caller") / "model"))
    for name, change in (
        ("service.json", {"name": "caller"}),
        ("tokenizer_config.json", {"chat_template": TEMPLATE}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert spawn("store", "publish", folder, data=grid).returncode == 0
    deployed = spawn("deploy", "caller:0.0.1", data=grid)
    assert deployed.returncode == 0, deployed.stderr
    yield "caller"
    spawn("undeploy", "caller", data=grid)


def chat(api: openai.OpenAI, model: str = "tiny", **fields: Any) -> Any:
    return api.chat.completions.create(model=model, messages=ASKED, **fields)


def text_of(events: Any) -> list[str]:
    texts: dict[int, str] = {}
    for choice in (choice for event in events for choice in event.choices):
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return [texts[index] for index in sorted(texts)]


@pytest.mark.parametrize("seed", range(4))
def test_json_is_valid_whatever_the_model_says(api: openai.OpenAI, seed: int) -> None:
    answer = chat(api, response_format=FORMAT, seed=seed, temperature=2)
    assert answer.choices[0].finish_reason == "stop"
    Lamps.model_validate_json(answer.choices[0].message.content, strict=True)
    events = chat(api, response_format=FORMAT, seed=seed, temperature=2, stream=True)
    assert text_of(events) == [answer.choices[0].message.content]


def test_the_clients_own_parser_takes_it(api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "temperature": 0}
    chat_answer = api.chat.completions.parse(messages=ASKED, response_format=Lamps, **asked)
    assert isinstance(chat_answer.choices[0].message.parsed, Lamps)
    response = api.responses.parse(input="which lamp?", text_format=Lamps, **asked)
    assert isinstance(response.output_parsed, Lamps)


def test_json_that_the_limit_cuts_says_so(api: openai.OpenAI) -> None:
    answer = chat(api, response_format=FORMAT, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"


def test_json_object(api: openai.OpenAI) -> None:
    answer = chat(api, response_format={"type": "json_object"}, temperature=0, max_tokens=60)
    assert answer.choices[0].message.content.startswith("{")


def test_several_choices_are_seeded_and_counted(api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"n": 3, "seed": 5, "max_tokens": 8, "temperature": 1.5}
    whole = chat(api, **asked)
    texts = [choice.message.content for choice in whole.choices]
    assert len(texts) == 3 and len(set(texts)) > 1
    one = chat(api, seed=6, max_tokens=8, temperature=1.5)
    assert one.choices[0].message.content == texts[1]
    assert whole.usage.prompt_tokens == one.usage.prompt_tokens
    assert text_of(chat(api, **asked, stream=True)) == texts
    completion = api.completions.create(model="tiny", prompt="The red", n=2, max_tokens=4)
    assert [choice.index for choice in completion.choices] == [0, 1]


def test_tools_are_called_as_they_are_declared(api: openai.OpenAI, caller: str) -> None:
    asked: dict[str, Any] = {"tools": TOOLS, "temperature": 1.5, "seed": 3}
    asked["parallel_tool_calls"] = False
    answer = chat(api, caller, tool_choice="required", **asked)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.content is None
    (call,) = message.tool_calls
    assert call.function.name == "switch"
    Lamps.model_validate_json(call.function.arguments, strict=True)
    events = list(chat(api, caller, tool_choice="required", stream=True, **asked))
    deltas = [d for e in events for c in e.choices for d in c.delta.tool_calls or []]
    assert "".join(d.function.arguments for d in deltas) == call.function.arguments
    turns = [*ASKED, message, {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    after = api.chat.completions.create(
        model=caller, messages=turns, tools=TOOLS, tool_choice="none", max_tokens=4
    )
    assert after.choices[0].message.tool_calls is None


def test_a_model_without_tools_says_so(api: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="this model has no tools"):
        chat(api, tools=TOOLS)


def test_a_schema_that_cannot_be_kept_to_is_refused(api: openai.OpenAI) -> None:
    schema = {"name": "s", "schema": {"not": {"type": "string"}}}
    with pytest.raises(openai.BadRequestError, match=r"cannot be compiled.*not"):
        chat(api, response_format={"type": "json_schema", "json_schema": schema})


def test_responses_streamed_and_whole(api: openai.OpenAI, caller: str) -> None:
    asked: dict[str, Any] = {"model": "tiny", "input": "which lamp?", "temperature": 0}
    asked["text"] = {"format": {"type": "json_schema", "name": "lamps", "schema": SCHEMA}}
    whole = api.responses.create(**asked)
    assert (whole.status, whole.store) == ("completed", False)
    Lamps.model_validate_json(whole.output_text, strict=True)
    *_, last = api.responses.create(**asked, stream=True)
    assert last.response.output_text == whole.output_text
    assert last.response.usage == whole.usage and whole.usage.output_tokens > 0
    tool = {"type": "function", "strict": True} | SWITCH
    called = api.responses.create(
        model=caller, input="go", tools=[tool], tool_choice="required", parallel_tool_calls=False
    )
    assert [item.type for item in called.output] == ["function_call"]
    Lamps.model_validate_json(called.output[0].arguments, strict=True)


def test_plain_answers_and_models(api: openai.OpenAI) -> None:
    assert "tiny" in [model.id for model in api.models.list()]
    answer = chat(api, max_tokens=4, logprobs=True, top_logprobs=2, stop=["\n\n"])
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
