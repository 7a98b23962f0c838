"""Chat templates: Jinja as Hugging Face tokenizers carry it, rendered in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, meta
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aigrid.core.errors import ConfigurationError, InvalidRequestError
from aigrid.engines.engine import Message
from aigrid.engines.shape import OPEN_CALL


class ChatTemplate:
    """Turns messages into the prompt that the model was trained on.

    Reads `chat_template.jinja` where there is one, else `chat_template` of `tokenizer_config.json`;
    renders as `transformers.apply_chat_template(..., add_generation_prompt=True)` does.

    Raises:
        ConfigurationError: a file that is not JSON, or a template that does not parse.
    """

    def __init__(self, model_dir: Path) -> None:
        path = model_dir / "tokenizer_config.json"
        config = _read_config(path)
        self._special = {k: _spelled(v) for k, v in config.items() if k.endswith("_token") and v}
        source = _source(model_dir / "chat_template.jinja", config)
        self._template = _compile(source, path) if source else None
        self.knows_tools = self._template is not None and _names_tools(source)
        self.tags_calls = self.knows_tools and OPEN_CALL in source

    def render(self, messages: tuple[Message, ...], tools: Sequence[dict[str, Any]] = ()) -> str:
        """The prompt for a conversation, ending where the assistant speaks.

        Args:
            messages: turns.
            tools: that the model is told of.

        Raises:
            InvalidRequestError: the package has no template, it knows no tools, or the template
                refuses the turns.
        """
        if self._template is None:
            raise InvalidRequestError(
                "this model has no chat template", next_step="use /v1/completions"
            )
        if not self.knows_tools and (
            tools or any(m.role == "tool" or m.tool_calls for m in messages)
        ):
            raise InvalidRequestError(
                "this model has no tools: its chat template does not know them",
                next_step="leave tools and tool messages out, or use another model",
            )
        turns = [_turn(message) for message in messages]
        try:
            return self._template.render(
                messages=turns,
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=True,
                **self._special,
            )
        except TemplateError as error:
            raise InvalidRequestError(f"messages: {error}") from error


def _turn(message: Message) -> dict[str, Any]:
    """A message as templates read it: arguments are an object there, not its text."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _names_tools(source: str) -> bool:
    return "tools" in meta.find_undeclared_variables(_ENVIRONMENT.parse(source))


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path}: expected an object, got {type(config).__name__}")
    return config


def _source(file: Path, config: dict[str, Any]) -> str:
    if file.exists():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template") or ""
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template", "") for entry in found}
        found = named.get("default", "")
    return str(found)


def _spelled(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _compile(source: str, path: Path) -> Template:
    try:
        return _ENVIRONMENT.from_string(source)
    except TemplateError as error:
        raise ConfigurationError(f"{path}: chat_template does not parse: {error}") from error


def _tojson(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes for HTML, which no model was trained on
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment


_ENVIRONMENT = _environment()
