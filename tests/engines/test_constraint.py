"""Whatever a model likes best, what it writes is of its grammar; what cannot be is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.conftest import make_tokenizer

from aigrid.core.errors import InvalidRequestError, OverloadedError
from aigrid.engines import constraint
from aigrid.engines.calls import CallReader
from aigrid.engines.constraint import Constraint, ConstraintError, Grammars, grammar_of
from aigrid.engines.shape import CallDelta, Shape, ToolCall, whole_calls
from aigrid.engines.text import Vocabulary

END = 0
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Rome", "Oslo"]},
        "days": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    function = {"name": name} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": function}


def of_schema(schema: Any) -> Shape:
    named = {"name": "answer", "schema": schema}
    return Shape({"type": "json_schema", "json_schema": named})


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return Vocabulary(Path(folder) / "tokenizer.json")


@pytest.fixture
def grammars(vocabulary: Vocabulary) -> Any:
    made = Grammars(vocabulary.source, vocabulary.size, frozenset({END}))
    yield made
    made.close()


def begin(grammars: Grammars, shape: Shape, *, tagged: bool = False) -> Constraint:
    return asyncio.run(grammars.constrain(grammar_of(shape, tagged=tagged)))


def write(limits: Constraint, vocabulary: Vocabulary, seed: int, most: int = 400) -> str:
    """What a model says that likes everything alike."""
    chance, said = np.random.default_rng(seed), b""
    for _ in range(most):
        likes = chance.random(vocabulary.size).astype(np.float32)
        token = int(limits.allowed(likes).argmax())
        limits.take(token)
        if token == END:
            break
        said += vocabulary.bytes_of(token)
        if limits.complete:
            break
    return said.decode()


@pytest.mark.parametrize("seed", range(8))
def test_json_of_a_schema_is_valid_whatever_the_model_likes(
    grammars: Grammars, vocabulary: Vocabulary, seed: int
) -> None:
    answer = json.loads(write(begin(grammars, of_schema(WEATHER)), vocabulary, seed))
    assert answer["city"] in ("Rome", "Oslo") and answer["days"] <= 9
    assert set(answer) == {"city", "days"}


def test_json_object_is_an_object(grammars: Grammars, vocabulary: Vocabulary) -> None:
    limits = begin(grammars, Shape({"type": "json_object"}))
    for token in vocabulary.encode('{"a": [1, {"b": null}]}', special=False):
        assert not limits.complete
        limits.take(token)
    assert limits.complete
    with pytest.raises(ConstraintError):
        begin(grammars, Shape({"type": "json_object"})).take(
            vocabulary.encode("[", special=False)[0]
        )


def test_copies_of_one_grammar_go_their_own_ways(
    grammars: Grammars, vocabulary: Vocabulary
) -> None:
    one, two = (begin(grammars, of_schema(WEATHER)) for _ in range(2))
    said = write(one, vocabulary, 1)
    assert json.loads(write(two, vocabulary, 2)) and json.loads(said)


def test_logits_are_left_as_they_are(grammars: Grammars, vocabulary: Vocabulary) -> None:
    logits = np.arange(vocabulary.size, dtype=np.float32)
    masked = begin(grammars, of_schema(WEATHER)).allowed(logits)
    assert np.isneginf(masked).any() and not np.isneginf(logits).any()
    kept = np.isfinite(masked)
    assert (masked[kept] == logits[kept]).all()


REFERS_TO_ITSELF = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "flurb"}, "flurb"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"type": "string", "pattern": "^(?=a)b"}, "look-around"),
        ({"type": "string", "pattern": "(" * 9000 + ")" * 9000}, "nest"),
        ({"$ref": "http://example.com/x"}, "example.com"),
        (REFERS_TO_ITSELF, "cannot"),
        (nested(500), "cannot be compiled"),
        ({"type": "object", "x-guidance": {"lenient": True}, "unknown": 1, "if": {}}, "if"),
    ],
)
def test_schema_that_cannot_be_compiled_is_refused_with_the_reason(
    grammars: Grammars, schema: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        begin(grammars, of_schema(schema))
    assert caught.value.http_status == 400 and "\n" not in caught.value.message


def test_schema_over_the_limit_is_refused(grammars: Grammars) -> None:
    long = {"enum": ["x" * constraint.GRAMMAR_LIMIT_BYTES]}
    with pytest.raises(InvalidRequestError, match="has over"):
        begin(grammars, of_schema(long))


def test_compilation_has_a_time_limit_and_a_line(
    grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    go = threading.Event()
    monkeypatch.setattr(constraint, "COMPILE_LIMIT_S", 0.05)
    monkeypatch.setattr(constraint, "COMPILE_LINE", 1)
    monkeypatch.setattr(grammars, "_compile", lambda grammar: go.wait(20))

    async def ask() -> None:
        with pytest.raises(InvalidRequestError, match="was not compiled within"):
            await grammars.constrain("start: /a/")
        with pytest.raises(OverloadedError):
            await grammars.constrain("start: /b/")
        go.set()

    asyncio.run(ask())


def test_many_with_one_schema_wait_for_one_compilation(
    grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, grammar = [], grammar_of(of_schema(WEATHER), tagged=False)
    compile_one = grammars._compile
    monkeypatch.setattr(
        grammars, "_compile", lambda text: compiled.append(text) or compile_one(text)
    )

    async def ask() -> None:
        await asyncio.gather(*(grammars.constrain(grammar) for _ in range(40)))

    asyncio.run(ask())
    assert compiled == [grammar]


# -- tool calls ----------------------------------------------------------------------------------

TOOLS = (tool("weather", WEATHER), tool("now"))


def read(text: str, *, tagged: bool, piece: int) -> tuple[str, list[ToolCall]]:
    reader, shown, deltas = CallReader(tagged=tagged, prefix="call_x"), "", []
    for at in range(0, len(text), piece):
        more, found = reader.push(text[at : at + piece])
        shown += more
        deltas += found
    return shown + reader.finish(), whole_calls(deltas)


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_required_call_is_of_a_function_with_its_arguments(
    grammars: Grammars, vocabulary: Vocabulary, tagged: bool, seed: int
) -> None:
    text = write(begin(grammars, Shape(None, TOOLS, "required"), tagged=tagged), vocabulary, seed)
    shown, calls = read(text, tagged=tagged, piece=3)
    assert shown == "" and 1 <= len(calls) <= 8
    for number, call in enumerate(calls):
        assert call.id == f"call_x_{number}"
        arguments = json.loads(call.arguments)
        assert set(arguments) == ({"city", "days"} if call.name == "weather" else set())


@pytest.mark.parametrize("tagged", [True, False])
def test_named_function_is_called_once(
    grammars: Grammars, vocabulary: Vocabulary, tagged: bool
) -> None:
    named = {"type": "function", "function": {"name": "now"}}
    text = write(begin(grammars, Shape(None, TOOLS, named), tagged=tagged), vocabulary, 1)
    assert read(text, tagged=tagged, piece=5)[1] == [ToolCall("call_x_0", "now", "{}")]


def test_one_call_where_parallel_calls_are_not_wanted(
    grammars: Grammars, vocabulary: Vocabulary
) -> None:
    for seed in range(4):
        shape = Shape(None, TOOLS, "required", parallel_tool_calls=False)
        text = write(begin(grammars, shape, tagged=True), vocabulary, seed)
        assert len(read(text, tagged=True, piece=2)[1]) == 1


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 1}}\n</tool_call>'


def test_auto_lets_text_be_and_holds_calls_to_their_schema(
    grammars: Grammars, vocabulary: Vocabulary
) -> None:
    def takes(text: str) -> bool:
        limits = begin(grammars, Shape(None, TOOLS, "auto"), tagged=True)
        try:
            for token in vocabulary.encode(text, special=False):
                limits.take(token)
            return bool(np.isfinite(limits.allowed(np.zeros(vocabulary.size, np.float32))[END]))
        except ConstraintError:
            return False

    assert takes("just text, {with} <tool> in it")
    assert takes("see:\n" + CALL)
    assert takes(CALL + "\n" + CALL)
    assert not takes(CALL.replace("Rome", "Paris"))
    assert not takes(CALL.replace("weather", "whether"))
    assert not takes("see: <tool_call> nothing")


@pytest.mark.parametrize("piece", [1, 2, 7, 500])
def test_calls_are_told_from_text_wherever_it_is_cut(piece: int) -> None:
    odd = CALL.replace('"Rome"', '"}{\\\\\\"]"')
    text = f"I look < at <tool_ca it.\n{odd}\n{CALL}"
    shown, calls = read(text, tagged=True, piece=piece)
    assert shown == "I look < at <tool_ca it.\n"
    assert [json.loads(call.arguments)["city"] for call in calls] == ['}{\\"]', "Rome"]


def test_pieces_of_a_call_name_it_once() -> None:
    reader = CallReader(tagged=True, prefix="c")
    deltas = [delta for letter in CALL for delta in reader.push(letter)[1]]
    assert deltas[0] == CallDelta(0, "", "c_0", "weather")
    assert not any(delta.id or delta.name for delta in deltas[1:])
    assert "".join(delta.arguments for delta in deltas) == '{"city": "Rome", "days": 1}'


def test_text_that_only_began_like_a_call_is_shown_at_the_end() -> None:
    reader = CallReader(tagged=True, prefix="c")
    assert reader.push("a <tool")[0] == "a "
    assert reader.finish() == "<tool"
