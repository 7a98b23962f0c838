"""The gateway's own HTTP client: what sites may do to it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aigrid.live.wires import AHEAD_BYTES, Address, WireError, Wires

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def against(
    serve: Serve, use: Callable[[Wires, str], Awaitable[None]], silent_s: float = 10.0
) -> None:
    async def run() -> None:
        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        wires = Wires(silent_s, connect_s=10.0)
        watching = asyncio.create_task(wires.watch())
        host, port = server.sockets[0].getsockname()[:2]
        try:
            await use(wires, f"http://{host}:{port}")
        finally:
            watching.cancel()
            wires.close()
            server.close()
            await asyncio.sleep(0.02)

    asyncio.run(run())


async def ask(wires: Wires, url: str, body: bytes = b"{}") -> bytes:
    wire = await wires.post(url, "/x", b"a: b\r\n", body, wires.silent_s)
    said = b""
    try:
        while piece := await wire.read():
            said += piece
    finally:
        wire.leave()
    return said


def test_a_connection_serves_one_request_after_another() -> None:
    made, seen = [], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(1)
        while True:
            seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)

    async def use(wires: Wires, url: str) -> None:
        assert [await ask(wires, url + "/base") for _ in range(3)] == [b"ok"] * 3

    against(serve, use)
    assert len(made) == 1
    assert seen[0].startswith(b"POST /base/x HTTP/1.1\r\nhost: 127.0.0.1:")
    assert seen[0].endswith(b"content-length: 2\r\na: b\r\n\r\n{}")


def test_a_connection_that_was_closed_while_idle_costs_nothing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(OK)  # and goodbye, unannounced

    async def use(wires: Wires, url: str) -> None:
        for _ in range(5):
            assert await ask(wires, url) == b"ok"

    against(serve, use)


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-x\r\n", OK[:-1], b"HTTP/1.1 200 OK\r\nx: " + b"y" * 99999]
)
def test_what_is_not_an_answer_is_an_error_at_once(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)

    async def use(wires: Wires, url: str) -> None:
        with pytest.raises(WireError):
            await ask(wires, url)

    against(serve, use)


@pytest.mark.parametrize("said", [b"", OK[:-1]])
def test_silence_is_noticed_before_and_within_an_answer(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)
        await reader.read()

    async def use(wires: Wires, url: str) -> None:
        with pytest.raises(TimeoutError):
            await ask(wires, url)

    against(serve, use, silent_s=0.3)


def test_a_slow_reader_stops_the_site_and_is_not_taken_for_its_silence() -> None:
    size = 64 * AHEAD_BYTES

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)
        await writer.drain()

    async def use(wires: Wires, url: str) -> None:
        wire = await wires.post(url, "/x", b"", b"{}", wires.silent_s)
        await asyncio.sleep(1.5)
        most = 0
        read = 0
        while piece := await wire.read():
            read, most = read + len(piece), max(most, len(piece))
        wire.leave()
        assert read == size
        assert most < 8 * AHEAD_BYTES

    against(serve, use, silent_s=1.0)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a b", "x", "http://a\r\nb: c"])
def test_only_http_urls_lead_anywhere(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Address.of(url)
