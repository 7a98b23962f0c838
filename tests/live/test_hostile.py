"""What somebody who means harm can send to a gateway."""

import gzip
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from tests.live.conftest import KEY, Rig, ask, post

from aigrid.engines.scripted import Script
from aigrid.live import guesses
from aigrid.live.bounded import BoundedWriter
from aigrid.live.guesses import Guesses

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


def all_of(rig: Rig, raw: bytes, drip_s: float = 0.0, within_s: float = 20.0) -> bytes:
    """Everything that comes back until the gateway closes, or says no more."""
    parts = urlsplit(rig.gateway.url)
    address = (str(parts.hostname), int(parts.port or 0))
    said, until_s = b"", time.monotonic() + within_s
    with socket.create_connection(address, within_s) as connection:
        try:
            if drip_s:
                for byte in raw:
                    connection.sendall(bytes([byte]))
                    time.sleep(drip_s)
            else:
                connection.sendall(raw)
            while time.monotonic() < until_s:
                connection.settimeout(5.0)
                piece = connection.recv(65536)
                if not piece:
                    break
                said += piece
        except TimeoutError:
            said += b"(open)"
        except OSError:
            said += b"(cut)"
    return said


def jobs(rig: Rig) -> int:
    return len(rig.apis["one"].agent.replicas.get("m").engine.jobs)


SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n"
OUTER = HEAD.encode()
BODY = ask()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: %d\r\ntransfer-encoding: chunked\r\n" % len(CHUNKED),  # CL.TE
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n",  # TE.CL
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: chunked\r\n content-length: 5\r\n",  # obs-fold, RFC 9112 5.2
        b"x-folded: a\r\n b\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5, 6\r\n",
        b"content-length: +5\r\n",
        b"content-length: -5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: 5 5\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"x: \x00\r\ncontent-length: 5\r\n",
        b"x\x0b: 1\r\ncontent-length: 5\r\n",
        b"no colon\r\ncontent-length: 5\r\n",
    ],
    ids=str,
)
def test_a_body_of_doubtful_length_is_refused_and_its_connection_ends(
    rig: RigMaker, lines: bytes
) -> None:
    """CL.TE, TE.CL, TE.TE and the like: no request behind it is ever answered."""
    running = rig(one=Script())
    said = all_of(running, OUTER + lines + b"\r\n" + CHUNKED + SMUGGLED + chat(""))
    assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1
    assert b"(open)" not in said
    assert jobs(running) == 0


@pytest.mark.parametrize(
    "chunks",
    [
        b"0x10\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        b"g\r\n",
        b"5\r\nabcdeXX\r\n0\r\n\r\n",
        b"5 \r\nabcde\r\n0\r\n\r\n",
    ],
    ids=str,
)
def test_chunks_of_doubtful_length_are_refused(rig: RigMaker, chunks: bytes) -> None:
    running = rig(one=Script())
    said = all_of(running, OUTER + b"transfer-encoding: chunked\r\n\r\n" + chunks + chat(""))
    assert b"HTTP/1.1 200" not in said and jobs(running) == 0


BOMB = gzip.compress(b" " * (64 * 1024 * 1024), 6)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_compressed_bodies_are_not_unpacked(rig: RigMaker, encoding: str) -> None:
    """A bomb of 64 MiB in 64 KiB is 64 KiB of no JSON."""
    running = rig(one=Script())
    said = all_of(running, chat(f"content-encoding: {encoding}\r\nconnection: close\r\n", BOMB))
    assert said.startswith(b"HTTP/1.1 4") and jobs(running) == 0


@pytest.mark.parametrize(
    "raw", [b"", b"POST /v1/chat", OUTER, OUTER + b"content-length: 900\r\n\r\n{"], ids=len
)
def test_a_request_that_does_not_end_is_ended(
    rig: RigMaker, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slowloris: heads and bodies that drip in, and connections that say nothing."""
    monkeypatch.setattr(BoundedWriter, "request_s", 0.5)
    running = rig(one=Script())
    said = all_of(running, raw + b"x" * 400, drip_s=0.004 if raw else 10.0) if raw else b""
    if not raw:
        parts = urlsplit(running.gateway.url)
        address = (str(parts.hostname), int(parts.port or 0))
        with socket.create_connection(address, 20) as quiet:
            said = quiet.recv(1000)
    assert said.startswith(b"HTTP/1.1 408 ") or said == b"(cut)"
    assert jobs(running) == 0


def test_line_ends_between_requests_hold_no_connection(
    rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedWriter, "request_s", 0.5)
    running = rig(one=Script())
    parts = urlsplit(running.gateway.url)
    address = (str(parts.hostname), int(parts.port or 0))
    with socket.create_connection(address, 20) as connection:
        connection.sendall(chat(""))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        while piece := connection.recv(65536):
            last = piece
    assert last.endswith(b"connection: close\r\n\r\n")


def test_a_stream_longer_than_a_request_may_take_goes_on(
    rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedWriter, "request_s", 0.3)
    running = rig(one=Script(answer=lambda job: "a b c d e f", token_s=0.15))
    said = all_of(running, chat("", ask(stream=True)) + OUTER[:20])
    assert b"[DONE]" in said


def test_heads_have_a_limit(rig: RigMaker) -> None:
    running = rig(one=Script())
    said = all_of(running, OUTER + b"x: " + b"y" * 10**6)
    assert said.startswith(b"HTTP/1.1 431 ") or said == b"(cut)"
    many = b"".join(b"x%d: 1\r\n" % number for number in range(500))
    said = all_of(running, OUTER + many + b"content-length: 2\r\n\r\n{}")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert jobs(running) == 0


def test_who_guesses_keys_is_told_to_wait_and_a_right_key_still_passes(rig: RigMaker) -> None:
    running = rig(one=Script())
    running.gateway_state.guesses = Guesses(per_min=5.0)
    statuses = [post(running, ask(), key=f"sk-{number}")[0] for number in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    _, headers, answer = post(running, ask(), key="sk-9")
    assert answer["error"]["code"] == "rate_limit_exceeded"
    assert int(headers["retry-after"]) >= 1
    assert post(running, ask())[0] == 200


def test_an_origin_is_an_address_or_a_customers_network_and_they_are_bounded() -> None:
    assert guesses.origin_of("203.0.113.7") == "203.0.113.7"
    assert guesses.origin_of("2001:db8::1") == guesses.origin_of("2001:db8::ffff:1")
    assert guesses.origin_of("2001:db8::1") != guesses.origin_of("2001:db8:0:1::1")
    found = Guesses()
    for number in range(guesses.ORIGINS_LIMIT + 50):
        found._bucket(str(number))
    assert len(found._buckets) == guesses.ORIGINS_LIMIT


def test_a_key_that_is_no_text_is_no_key(rig: RigMaker) -> None:
    running = rig(one=Script())
    for served in (running.gateway, running.sites["one"]):
        parts = urlsplit(served.url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 20) as raw:
            head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"
            raw.sendall(head + b"authorization: Bearer sk-\xff\xfe\r\n\r\n{}")
            assert raw.recv(4096).startswith(b"HTTP/1.1 401 ")
