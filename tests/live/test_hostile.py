"""What somebody who means harm can send to a gateway."""

import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from tests.live.conftest import KEY, Rig, ask, post

from aigrid.engines.scripted import Script

RigMaker = Callable[..., Rig]
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"


def send(rig: Rig, raw: bytes) -> bytes:
    parts = urlsplit(rig.gateway.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) as connection:
        connection.sendall(raw)
        said = b""
        while piece := connection.recv(65536):
            said += piece
            if b"\r\n\r\n" in said:
                break
        return said


def chat(extra: str, body: bytes | None = None) -> bytes:
    body = ask() if body is None else body
    return f"{HEAD}{extra}content-length: {len(body)}\r\n\r\n".encode() + body


def test_two_lengths_for_one_body_are_refused(rig: RigMaker) -> None:
    running = rig(one=Script())
    both = chat("transfer-encoding: chunked\r\n")
    twice = chat("content-length: 5\r\n")
    for raw in (both, twice):
        assert b" 400 " in send(running, raw).split(b"\r\n")[0]
    assert not running.apis["one"].agent.replicas.get("m").engine.jobs


def test_no_answer_carries_a_header_that_the_client_wrote(rig: RigMaker) -> None:
    running = rig(one=Script())
    for given in ("a\tb: c", "x" * 129, "h\x7f", "h\u00e9"):
        raw = chat(f"x-client-request-id: {given}\r\n")
        said = send(running, raw).partition(b"\r\n\r\n")[0].lower()
        assert b"x-client-request-id" not in said
    said = send(running, chat("x-client-request-id: mine-1\r\n")).lower()
    assert b"x-client-request-id: mine-1" in said


def test_a_client_does_not_choose_the_id_by_which_it_is_billed(rig: RigMaker) -> None:
    said = send(rig(one=Script()), chat("x-request-id: forged\r\n"))
    assert b"forged" not in said


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "m", "messages": [], "max_tokens": 1e999}',
        b'{"model": "m", "messages": [], "temperature": NaN}',
        b'{"model": "m", "messages": [], "seed": ' + b"9" * 5000 + b"}",
        b'{"model": "m", "messages": "\xff\xfe"}',
        json.dumps({"model": "m" * 100_000, "messages": []}).encode(),
    ],
    ids=["deep", "infinite", "nan", "digits", "bytes", "name"],
)
def test_bombs_of_json_are_a_clients_error(rig: RigMaker, body: bytes) -> None:
    status, _, answer = post(rig(one=Script()), body)
    assert 400 <= status < 500
    assert answer["error"]["message"]
