"""The embedded engine holds a model that says anything to what was asked for, and goes on so."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engines.test_constraint import WEATHER, of_schema, tool

from aigrid.core.errors import InvalidRequestError
from aigrid.engines.embedded import EmbeddedEngine
from aigrid.engines.engine import Chunk, Job, Message, Sampling
from aigrid.engines.shape import Shape, ToolCall, whole_calls

CLOSED = {"type": "object", "additionalProperties": False}
GREEDY = Sampling(temperature=0)
SEEDED = Sampling(temperature=1.5, seed=3)
TOOLS = (
    tool("go", {"properties": {"to": {"enum": ["a", "é"]}}, "required": ["to"]} | CLOSED),
    tool("f"),
)
ASKED = (Message("user", "the weather"),)
TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool.function.name }}{% endfor %}{{ MARK }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls %}{{ c.function.arguments.to }}{% endfor %}\n{% endfor %}"
)


@asynccontextmanager
async def opened(model_dir: Path) -> Any:
    engine = EmbeddedEngine.open(model_dir)
    try:
        yield engine
    finally:
        await engine.close()


def run(model_dir: Path, *jobs: Job) -> list[list[Chunk]]:
    async def collect(engine: EmbeddedEngine, job: Job) -> list[Chunk]:
        return [chunk async for chunk in engine.generate(job)]

    async def work() -> list[list[Chunk]]:
        async with opened(model_dir) as engine:
            return await asyncio.gather(*(collect(engine, job) for job in jobs))

    return asyncio.run(work())


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@pytest.fixture
def taught(model_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The model with a template that knows tools, and their mark or none."""

    def make(mark: str) -> Path:
        made = Path(shutil.copytree(model_dir, tmp_path / f"taught{len(mark)}"))
        template = TEMPLATE.replace("{{ MARK }}", mark)
        (made / "chat_template.jinja").write_text(template)
        return made

    return make


def test_json_is_valid_beside_free_text_in_one_batch(model_dir: Path) -> None:
    free = Job("free", replace(GREEDY, max_tokens=12), messages=ASKED)
    held = [
        Job(f"held{seed}", replace(SEEDED, seed=seed), messages=ASKED, shape=of_schema(WEATHER))
        for seed in range(6)
    ]
    alone = run(model_dir, free)[0]
    among, *answers = run(model_dir, free, *held)
    assert text_of(among) == text_of(alone)
    for chunks in answers:
        assert chunks[-1].finish_reason == "stop"
        assert set(json.loads(text_of(chunks))) == {"city", "days"}
    assert len({text_of(chunks) for chunks in answers}) > 1


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_json_goes_on_within_its_grammar_behind_what_was_delivered(
    model_dir: Path, sampling: Sampling
) -> None:
    job = Job("j", sampling, messages=ASKED, shape=of_schema(WEATHER))
    (whole,) = run(model_dir, job)
    tokens = tuple(token for chunk in whole for token in chunk.tokens)
    jobs = [replace(job, delivered=tokens[:held]) for held in range(len(tokens) + 1)]
    for held, chunks in enumerate(run(model_dir, *jobs)):
        assert tuple(t for chunk in chunks for t in chunk.tokens) == tokens[held:]
        assert text_of(whole).endswith(text_of(chunks))
        assert chunks[-1].finish_reason == "stop"
        assert chunks[-1].completion_tokens == len(tokens)


def test_json_is_cut_where_the_limit_is(model_dir: Path) -> None:
    sampling = replace(GREEDY, max_tokens=2)
    (chunks,) = run(model_dir, Job("j", sampling, messages=ASKED, shape=of_schema(WEATHER)))
    assert chunks[-1].finish_reason == "length"


def test_delivered_tokens_of_another_schema_are_refused(model_dir: Path) -> None:
    job = Job("j", GREEDY, messages=ASKED, shape=of_schema(WEATHER), delivered=(1, 2, 3))
    with pytest.raises(InvalidRequestError, match="cannot go on within its schema"):
        run(model_dir, job)
    assert run(model_dir, replace(job, delivered=()))  # and others are none the worse


def test_a_broken_schema_is_refused_before_it_waits(model_dir: Path) -> None:
    with pytest.raises(InvalidRequestError, match="flurb"):
        run(model_dir, Job("j", GREEDY, messages=ASKED, shape=of_schema({"type": "flurb"})))


@pytest.mark.parametrize("mark", ["", "<tool_call>"], ids=["bare", "tagged"])
@pytest.mark.parametrize(
    ("choice", "ending"),
    [
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "go"}}, "stop"),
    ],
    ids=["required", "named"],
)
def test_calls_are_made_and_go_on(
    taught: Callable[[str], Path], mark: str, choice: Any, ending: str
) -> None:
    model_dir = taught(mark)
    job = Job("j", SEEDED, messages=ASKED, shape=Shape(None, TOOLS, choice, False))
    (whole,) = run(model_dir, job)
    (call,) = whole_calls([delta for chunk in whole for delta in chunk.calls])
    assert text_of(whole) == "" and whole[-1].finish_reason == ending
    assert set(json.loads(call.arguments)) == ({"to"} if call.name == "go" else set())
    tokens = [token for chunk in whole for token in chunk.tokens]
    jobs = [replace(job, delivered=tuple(tokens[:held])) for held in range(0, len(tokens) + 1, 3)]
    for chunks in run(model_dir, *jobs):
        rest = "".join(delta.arguments for chunk in chunks for delta in chunk.calls)
        assert call.arguments.endswith(rest) and text_of(chunks) == ""
        assert chunks[-1].finish_reason == ending


def test_the_model_may_choose_not_to_call(taught: Callable[[str], Path]) -> None:
    job = Job("j", replace(GREEDY, max_tokens=8), messages=ASKED, shape=Shape(None, TOOLS))
    (chunks,) = run(taught("<tool_call>"), job)
    assert text_of(chunks) and not any(chunk.calls for chunk in chunks)
    with pytest.raises(InvalidRequestError, match="no mark that begins a call"):
        run(taught(""), job)


def test_tools_and_what_they_gave_are_in_the_prompt(taught: Callable[[str], Path]) -> None:
    model_dir, limit = taught(""), replace(GREEDY, max_tokens=1)
    called = Message("assistant", "", (ToolCall("c1", "go", '{"to": "a"}'),))
    turns = (*ASKED, called, Message("tool", "sunny", (), "c1"))
    shapes = [None, Shape(None, TOOLS, "none"), Shape(None, TOOLS[1:], "required")]
    jobs = [Job("j", limit, messages=turns, shape=shape) for shape in shapes]
    plain, none, told = (chunks[-1].prompt_tokens for chunks in run(model_dir, *jobs))
    assert plain == none < told
    unsaid = Job("j", limit, messages=(*ASKED, replace(called, tool_calls=()), turns[2]))
    assert run(model_dir, unsaid)[0][-1].prompt_tokens < plain


@pytest.mark.parametrize(
    "job",
    [
        Job("j", GREEDY, messages=ASKED, shape=Shape(None, TOOLS, "required")),
        Job("j", GREEDY, messages=(*ASKED, Message("tool", "sunny", (), "c1"))),
    ],
    ids=["tools", "tool message"],
)
def test_model_without_tools_says_so(model_dir: Path, job: Job) -> None:
    with pytest.raises(InvalidRequestError, match="this model has no tools"):
        run(model_dir, job)
