"""The upstream engine against a server on loopback that behaves, and one that does not."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest
from aiohttp import web

from aigrid.core.errors import (
    AigridError,
    ConfigurationError,
    InvalidRequestError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from aigrid.core.package import ServiceSpec, UpstreamTarget
from aigrid.engines.egress import Egress, Grants
from aigrid.engines.engine import Job, JobTimes, Message, Sampling
from aigrid.engines.load import load_engine
from aigrid.engines.openai_answers import Answer
from aigrid.engines.openai_api import parse_chat, to_job
from aigrid.engines.scripted import Script, ScriptedEngine
from aigrid.engines.shape import Shape, ToolCall, whole_calls
from aigrid.engines.upstream import LINE_LIMIT_BYTES, UpstreamEngine

CHAT = Job("j", Sampling(max_tokens=5, temperature=0), messages=(Message("user", "a b c d e f"),))
SECRET = "sk-very-secret"


@asynccontextmanager
async def serving(handler):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    app.router.add_post("/v1/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def granted(target):
    """Loopback, and the target's key."""
    rules = Egress()
    rules._grants = Grants((ip_network("127.0.0.0/8"),), {(target.base_url, target.key_file)})
    return rules


@asynccontextmanager
async def upstream(handler, key_file="", **options):
    async with serving(handler) as url:
        target = UpstreamTarget(url, "theirs", str(key_file))
        engine = UpstreamEngine(target, **({"egress": granted(target)} | options))
        try:
            yield engine
        finally:
            await engine.close()


async def well_behaved(request):
    """A server made of our own parts: the scripted engine behind the protocol."""
    asked = parse_chat(await request.read())
    assert asked.model == "theirs"
    answer = Answer("id", "theirs", 1, chat=True, include_usage=asked.include_usage)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b": a comment\n\n" + answer.first_event())
    async for chunk in ScriptedEngine().generate(to_job(asked, "j")):
        await response.write(answer.event(chunk))
    return response


async def collect(engine, job=CHAT):
    return [chunk async for chunk in engine.generate(job)]


def run_against(handler, key_file="", job=CHAT, **options):
    async def run():
        async with upstream(handler, key_file, **options) as engine:
            return await asyncio.wait_for(collect(engine, job), 10)

    return asyncio.run(run())


def streaming(*pieces: bytes):
    async def handler(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.002)
        return response

    return handler


def refusing(status, body=b"", **headers):
    async def handler(_request):
        return web.Response(status=status, body=body, headers=headers)

    return handler


def test_an_answer_comes_through_with_counts():
    chunks = run_against(well_behaved)
    assert "".join(c.text for c in chunks) == "you said: a b c"
    last = chunks[-1]
    assert (last.finish_reason, last.prompt_tokens, last.completion_tokens) == ("length", 6, 5)


def test_tools_go_there_and_calls_come_back():
    asked = []

    async def handler(request):
        asked.append(await request.json())
        delta = {"index": 0, "id": "c1", "type": "function"}
        named = delta | {"function": {"name": "now", "arguments": ""}}
        more = {"index": 0, "function": {"arguments": "{}"}}
        events = [
            {"delta": {"role": "assistant", "content": None, "tool_calls": [named]}},
            {"delta": {"tool_calls": [more]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        ]
        said = [json.dumps({"choices": [{"index": 0} | event]}).encode() for event in events]
        pieces = [b"data: " + data + b"\n\n" for data in [*said, b"[DONE]"]]
        return await streaming(*pieces)(request)

    tools = ({"type": "function", "function": {"name": "now"}},)
    job = replace(CHAT, shape=Shape(None, tools, "required"))
    chunks = run_against(handler, job=job)
    assert asked[0]["tools"] == list(tools) and asked[0]["tool_choice"] == "required"
    deltas = [delta for chunk in chunks for delta in chunk.calls]
    assert whole_calls(deltas) == [ToolCall("c1", "now", "{}")]
    assert chunks[-1].finish_reason == "tool_calls"


def test_the_key_is_sent_and_can_be_changed_in_place(tmp_path):
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Authorization"))
        return await well_behaved(request)

    key_file = tmp_path / "key"

    async def run():
        async with upstream(handler, key_file) as engine:
            for key in ("one\n", "two"):
                key_file.write_text(key)
                await collect(engine)

    asyncio.run(run())
    assert seen == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("content", [None, "a\nb", "clé"])
def test_a_key_file_that_cannot_be_used(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(UnavailableError, match="key_file") as caught:
        run_against(well_behaved, tmp_path / "key")
    assert "clé" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (429, b'{"error":{"message":"slow down"}}', OverloadedError, "slow down"),
        (400, b'{"error":{"message":"no such thing"}}', InvalidRequestError, "no such thing"),
        (400, b'{"error":"plain"}', InvalidRequestError, "plain"),
        (401, b'{"error":{"message":"bad key sk-very-secret"}}', UnavailableError, "key_file"),
        (404, b"<html>", UnavailableError, "answered 404: no readable message"),
        (500, b"", UnavailableError, "answered 500"),
        (503, b"[1]", UnavailableError, "answered 503"),
        (302, b"", UnavailableError, "answered 302"),
        (500, b"x" * 1_000_000, UnavailableError, "answered 500"),
    ],
)
def test_refusals_become_our_errors_without_the_key(tmp_path, status, body, error, message):
    (tmp_path / "key").write_text(SECRET)
    with pytest.raises(error, match=message) as caught:
        run_against(refusing(status, body, Location="http://127.0.0.1:1/"), tmp_path / "key")
    assert SECRET not in str(caught.value)


def event(text, reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def test_events_cut_anywhere_and_other_line_ends():
    stream = (event("日本") + event("!", "stop") + b"data: [DONE]\n\n").replace(b"\n", b"\r\n")
    pieces = [stream[at : at + 7] for at in range(0, len(stream), 7)]
    chunks = run_against(streaming(*pieces))
    assert "".join(c.text for c in chunks) == "日本!"
    assert (chunks[-1].finish_reason, chunks[-1].completion_tokens) == ("stop", 2)


@pytest.mark.parametrize(
    ("pieces", "error", "message"),
    [
        ([event("half")], UnavailableError, "ended before its answer"),
        ([event("a"), b"data: {broken\n\n"], UnavailableError, "cannot be read"),
        ([b'data: {"choices": 5}\n\n'], UnavailableError, "cannot be read"),
        ([b'data: {"error": {"message": "gone"}}\n\n'], UnavailableError, "gone"),
        ([b"data: " + b"x" * (LINE_LIMIT_BYTES + 10)], TooLargeError, "line of over"),
    ],
)
def test_broken_streams(pieces, error, message):
    with pytest.raises(error, match=message):
        run_against(streaming(*pieces))


def test_a_connection_cut_in_the_middle():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event("half"))
        request.transport.abort()
        return response

    with pytest.raises(UnavailableError, match="upstream http://127"):
        run_against(handler)


async def silent(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(event("one"))
    await asyncio.sleep(5)
    return response


def test_a_server_that_falls_silent():
    with pytest.raises(UnavailableError, match="check that the upstream"):
        run_against(silent, read_timeout_s=0.1)


def test_close_ends_an_answer_in_flight():
    async def run():
        async with upstream(silent) as engine:
            task = asyncio.create_task(collect(engine))
            await asyncio.sleep(0.1)
            assert engine.load().running == 1
            await engine.close()
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(task, 5)
            with pytest.raises(UnavailableError, match="closed"):
                await collect(engine)

    asyncio.run(run())


def test_a_server_that_is_not_there():
    async def run():
        target = UpstreamTarget("http://127.0.0.1:1/v1", "m")
        engine = UpstreamEngine(target, egress=granted(target))
        try:
            await collect(engine)
        finally:
            await engine.close()

    with pytest.raises(UnavailableError, match="check that the upstream server runs"):
        asyncio.run(run())


def test_the_share_limits_requests_in_flight():
    most = [0, 0]

    async def handler(request):
        most[0] += 1
        most[1] = max(most)
        await asyncio.sleep(0.03)
        most[0] -= 1
        return await well_behaved(request)

    async def run():
        async with upstream(handler, max_batch=8) as engine:
            engine.set_share(0.25)
            await asyncio.gather(*(collect(engine) for _ in range(6)))
            engine.set_share(0)
            task = asyncio.create_task(collect(engine))
            await asyncio.sleep(0.1)
            assert (engine.load().running, engine.load().waiting) == (0, 1)
            engine.set_share(1)
            await asyncio.wait_for(task, 10)

    asyncio.run(run())
    assert most[1] == 2


def test_a_full_line_refuses():
    async def run():
        async with upstream(well_behaved, queue_limit=1) as engine:
            engine.set_share(0)
            task = asyncio.create_task(collect(engine))
            await asyncio.sleep(0.02)
            with pytest.raises(OverloadedError, match="1 jobs are waiting"):
                await collect(engine)
            task.cancel()

    asyncio.run(run())


def test_addresses_that_cannot_be_are_refused():
    with pytest.raises(ConfigurationError, match="base_url is 'ftp://x'"):
        UpstreamEngine(UpstreamTarget("ftp://x", "m"))


def test_a_package_opens_the_engine_it_asks_for(model_dir, tmp_path):
    async def run():
        target = UpstreamTarget("http://127.0.0.1:1/v1", "m")
        spec = ServiceSpec("far", "1", engine="upstream", upstream=target)
        far = load_engine(spec, tmp_path, egress=granted(target))
        near = load_engine(ServiceSpec("near", "1"), model_dir)
        assert type(far).__name__, type(near).__name__ == ("UpstreamEngine", "EmbeddedEngine")
        await far.close()
        await near.close()

    asyncio.run(run())


def test_the_double_fails_where_it_is_told():
    async def run():
        engine = ScriptedEngine(
            Script(answer=lambda _: "a b c", fail_at=2, fail_with=UnavailableError("x"))
        )
        stream = engine.generate(CHAT)
        assert [(await anext(stream)).text for _ in range(2)] == ["a", " b"]
        with pytest.raises(UnavailableError):
            await anext(stream)
        engine.script = Script(answer=lambda _: "a b c")
        assert [c.finish_reason for c in await collect(engine)] == [None, None, "stop"]
        assert engine.load().running == 0
        await engine.close()
        with pytest.raises(UnavailableError):
            await collect(engine)

    asyncio.run(run())


def test_a_compressed_answer_is_not_unpacked():
    """64 MiB of one letter come as 64 KiB: they stay 64 KiB, and are no answer."""
    asked = []

    async def handler(request):
        asked.append(request.headers["accept-encoding"])
        bomb = gzip.compress(b"data: " + b"x" * (64 << 20))
        headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
        return web.Response(body=bomb, headers=headers)

    tracemalloc.start()
    with pytest.raises(AigridError):
        run_against(handler)
    assert tracemalloc.get_traced_memory()[1] < 160 << 20  # the double's own 64 MiB and its copy
    tracemalloc.stop()
    assert asked == ["identity"]


def test_a_trace_goes_on_to_the_upstream_server():
    seen = []

    async def handler(request):
        seen.append(request.headers.get("traceparent"))
        return await well_behaved(request)

    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    times = JobTimes()
    run_against(handler, job=replace(CHAT, traceparent=traceparent, times=times))
    run_against(handler)
    assert seen == [traceparent, None]
    assert times.fill_ns > 0
