"""An answer of a shape whose site dies in its middle goes on as if nothing had happened."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Rig, client, until
from tests.live.test_streams import between
from tests.tiny_model import make_tiny_model

from aigrid.core.package import ServiceSpec
from aigrid.engines.embedded import EmbeddedEngine
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits
from aigrid.live.replicas import Replica

TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}"
    "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
)
SCHEMA = {
    "type": "object",
    "properties": {
        "colours": {
            "type": "array",
            "items": {"enum": ["red", "green", "blue"]},
            "minItems": 4,
            "maxItems": 6,
        },
        "lit": {"type": "boolean"},
    },
    "required": ["colours", "lit"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "lamps", "schema": SCHEMA}}
TOOLS = [{"type": "function", "function": {"name": "go", "parameters": SCHEMA}}]
SHAPES: dict[str, dict[str, Any]] = {
    "greedy": {"response_format": FORMAT, "temperature": 0},
    "seeded": {"response_format": FORMAT, "temperature": 1.5, "seed": 4},
    "choices": {"response_format": FORMAT, "temperature": 1.5, "seed": 4, "n": 3},
    "tools": {"tools": TOOLS, "tool_choice": "required", "temperature": 1.5, "seed": 4},
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    made = make_tiny_model(tmp_path_factory.mktemp("shaped") / "tiny").path
    (made / "chat_template.jinja").write_text(TEMPLATE)
    return made


@pytest.fixture
def engines(model_dir: Path) -> Iterator[list[EmbeddedEngine]]:
    """One a site, as on two machines."""
    made = [EmbeddedEngine.open(model_dir, max_batch=4) for _ in range(2)]
    yield made
    for engine in made:
        asyncio.run(engine.close())


def read(running: Rig, shape: dict[str, Any]) -> list[str]:
    """What each choice says, text and arguments."""
    texts = [""] * shape.get("n", 1)
    turns = [{"role": "user", "content": "lamps"}]
    with client(running) as api:
        for event in api.chat.completions.create(model="m", messages=turns, stream=True, **shape):
            for choice in event.choices:
                texts[choice.index] += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    texts[choice.index] += call.function.arguments
    return texts


@pytest.mark.parametrize("name", SHAPES)
def test_shaped_answer_is_the_undisturbed_one_wherever_it_breaks(
    rig: Callable[..., Rig],
    middle: Callable[..., Any],
    engines: list[EmbeddedEngine],
    name: str,
) -> None:
    running = rig(limits=Limits(silent_s=2.0), one=Script(), two=Script())
    for engine, site in zip(engines, ("one", "two"), strict=True):
        serving = running.apis[site].agent.replicas.serving
        serving["m"] = Replica(ServiceSpec("m", "1"), "sha256:0", engine)
    shape = SHAPES[name]
    undisturbed = read(running, shape)
    for text in undisturbed:
        assert set(json.loads(text)) == {"colours", "lit"}
    for at in (900, 1500, 2300, 3200):
        bad = between(running, middle, "one", cut_at=at)
        for _ in range(2):  # one of the two begins there
            assert read(running, shape) == undisturbed
        until(lambda bad=bad: bad.taken > 0)  # type: ignore[misc]
    assert running.gateway_state.forwarder.resumed >= 1  # a cut may fall before the first event
