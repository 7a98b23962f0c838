"""`aigrid chat`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field

import click

from aigrid.cli.completions import Answer, ChatClient
from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import InvalidRequestError, NotFoundError

KEEP_MESSAGES = 100


@click.command()
@click.option("--model", help="Which model (default: the first that is served).")
@click.option("--system", default="", help="What the model is told about its part.")
@click.option("--max-tokens", type=click.IntRange(1), default=None, help="Length of an answer.")
@click.option("--temperature", type=click.FloatRange(0.0, 2.0), default=None)
@click.option("--seed", type=int, default=None, help="The same seed gives the same answer.")
@click.argument("prompt", nargs=-1)
@grid_options
def chat(
    setup: Setup,
    model: str | None,
    system: str,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    prompt: tuple[str, ...],
) -> None:
    """Talk to a model.

    One answer to PROMPT, or a conversation where none is given. The prompt may also come
    from a pipe. Ctrl-C stops an answer, Ctrl-D ends the conversation.
    """
    from aigrid.live.client import ControlClient

    grid = ControlClient(setup.data)
    dials = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    given = {name: value for name, value in dials.items() if value is not None}
    client = ChatClient(grid.base_url, grid.api_key, given)
    talk = Conversation(client, model or _first_model(client), system)
    asked = " ".join(prompt) or ("" if sys.stdin.isatty() else sys.stdin.read().strip())
    if asked:
        _answer_once(setup, talk, asked)
    elif sys.stdin.isatty():
        _converse(talk)
    else:
        raise InvalidRequestError("the prompt is empty", next_step="aigrid chat 'your question'")


def _first_model(client: ChatClient) -> str:
    models = client.models()
    if not models:
        raise NotFoundError("no model is deployed", next_step="aigrid deploy NAME")
    return models[0]


@dataclass(slots=True)
class Conversation:
    """Turns so far, and whom they go to."""

    client: ChatClient
    model: str
    system: str = ""
    turns: list[dict[str, str]] = field(default_factory=list)

    def ask(self, text: str, *, aloud: bool) -> Answer:
        """Send a turn, print the answer as it comes, and remember both."""
        self.turns = [*self.turns[-KEEP_MESSAGES:], {"role": "user", "content": text}]
        answer = self._ask_within_context(aloud)
        self.turns.append({"role": "assistant", "content": answer.text})
        return answer

    def _ask_within_context(self, aloud: bool) -> Answer:
        """Forget the oldest turns while the model's context is too short for all of them."""
        while True:
            opening = [{"role": "system", "content": self.system}] if self.system else []
            try:
                return self._print(self.client.ask(self.model, opening + self.turns), aloud)
            except InvalidRequestError:
                if len(self.turns) < 3:
                    self.turns.pop()
                    raise
                self.turns = self.turns[2:]

    def _print(self, answer: Answer, aloud: bool) -> Answer:
        try:
            for piece in answer:
                if aloud:
                    click.echo(printable(piece), nl=False)
                    sys.stdout.flush()
        except KeyboardInterrupt:
            answer.close()
        if aloud:
            click.echo()
        return answer


def printable(text: str) -> str:
    """The text without control characters: a model must not move somebody's cursor, or worse."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _answer_once(setup: Setup, talk: Conversation, asked: str) -> None:
    answer = talk.ask(asked, aloud=not setup.as_json)
    if setup.as_json:
        told = {"model": talk.model, "site": answer.site, "text": answer.text}
        show(setup, told | {"usage": answer.usage}, "")
    else:
        note(f"({answer.site})", dim=True)


def _converse(talk: Conversation) -> None:
    with suppress(ImportError):
        import readline  # noqa: F401 - line editing and history of input()
    note(f"talking to {talk.model}; Ctrl-C stops an answer, Ctrl-D ends", dim=True)
    while True:
        try:
            asked = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if asked:
            _one_turn(talk, asked)


def _one_turn(talk: Conversation, asked: str) -> None:
    """A turn that fails is told and forgotten; the conversation goes on."""
    from aigrid.core.errors import AigridError

    try:
        answer = talk.ask(asked, aloud=True)
        note(f"({answer.site}, {answer.usage.get('completion_tokens', 0)} tokens)", dim=True)
    except AigridError as error:
        note(f"error: {error}", fg="red")
