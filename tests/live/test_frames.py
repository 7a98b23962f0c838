"""What a site says to its gateway alone never reaches the client, wherever TCP cuts the bytes."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aigrid.engines.engine import Chunk, TokenLogprob
from aigrid.live import frames
from aigrid.live.frames import Relay
from aigrid.live.generation import read_parts, write_parts


def event(text: str, finish: str | None = None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"id": "x", "created": 7, "choices": [choice]}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


TEXTS = st.lists(st.text(max_size=12), min_size=1, max_size=8)


def site_says(texts: list[str]) -> tuple[bytes, bytes]:
    """What a site sends, and what of it a client gets."""
    sent, shown = [frames.package_line("sha256:1") + b"\n", frames.ALIVE], []
    for place, text in enumerate(texts):
        last = place == len(texts) - 1
        shown.append(event(text, "stop" if last else None))
        sent += [frames.tokens_line(0, 3, place + 1, (place,)), shown[-1], frames.ALIVE]
    shown.append(b"data: [DONE]\n\n")
    return b"".join([*sent, shown[-1]]), b"".join(shown)


@given(TEXTS, st.lists(st.integers(0, 4000), max_size=12))
def test_client_gets_the_events_and_nothing_else(texts: list[str], cuts: list[int]) -> None:
    sent, shown = site_says(texts)
    ends = sorted({min(cut, len(sent)) for cut in cuts} | {len(sent)})
    relay, begin, got = Relay(), 0, b""
    for end in ends:
        got += relay.feed(sent[begin:end])
        begin = end
    assert got == shown
    assert relay.ended and relay.known and relay.package == "sha256:1"
    assert (relay.prompt_tokens, relay.completion_tokens) == (3, len(texts))
    assert relay.choices[0].tokens == list(range(len(texts)))


@given(TEXTS, st.integers(0, 4000))
def test_what_is_asked_of_the_next_site_is_what_the_client_lacks(
    texts: list[str], cut: int
) -> None:
    sent, shown = site_says(texts)
    relay = Relay()
    got = relay.feed(sent[:cut])
    asked = json.loads(relay.resume_body("/v1/chat/completions", b"{}"))
    held = [token for choice in asked["choices"] for token in choice["tokens"]]
    assert held == list(range(got.count(b'"delta"')))
    relay.next_site()
    ends = [None] * (len(texts) - 1) + ["stop"]
    rest = [
        frames.tokens_line(0, 3, place + 1, (place,)) + event(texts[place], ends[place])
        for place in range(len(held), len(texts))
    ]
    if len(held) == len(texts) and not relay.ended:
        rest.append(event("", "stop"))  # said again, since its site does not know
    if not relay.ended:
        got += relay.feed(b"".join(rest) + b"data: [DONE]\n\n")
    assert got == shown


def test_text_without_tokens_cannot_be_continued() -> None:
    relay = Relay()
    relay.feed(event(""))
    assert relay.known
    relay.feed(event("text"))
    assert not relay.known


def test_parts_of_an_answer_come_back_as_they_were() -> None:
    entry = TokenLogprob("a", 1, -0.5, (("a", -0.5), ("b", float("-inf"))))
    chunks = [Chunk("a\n\n", 3, 1, None, (entry,), (1,)), Chunk("\u2028b", 3, 2, None, (), (2,))]
    block = write_parts(chunks)
    assert block.count(b"\n") == 2
    relay = Relay()
    assert relay.feed(block) == b"" and relay.begun and relay.known
    (back,) = read_parts([part.decode() for part in relay.parts])
    assert back == Chunk("a\n\n\u2028b", 3, 2, None, (entry,), (1, 2))
    relay.feed(write_parts([Chunk("text", 3, 1)]))
    assert not relay.known
    assert write_parts([]) == b""
