"""Requests that start at a fixed rate, whatever comes of them: a process of its own.

`python -m benchmarks._open_loop PORT RATE SECONDS PATH KEY < BODY` prints one line of JSON:
milliseconds from the write of a request to the end of its answer, and how late it was written.
"""

import asyncio
import json
import sys
import time

import httptools
import uvloop

AHEAD = 64


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, idle: list["Connection"], taken_ms: list[float], bad: list[int]) -> None:
        self.idle, self.taken_ms, self.bad = idle, taken_ms, bad
        self.parser = httptools.HttpResponseParser(self)
        self.began_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> None:
        self.began_s = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.taken_ms.append((time.perf_counter() - self.began_s) * 1e3)
        status = self.parser.get_status_code()
        if status != 200:
            self.bad.append(status)
        if self.parser.should_keep_alive():
            self.idle.append(self)


async def measure(port: int, rate: float, seconds: float, request: bytes) -> dict[str, object]:
    """Latencies in ms, sorted; how late requests were; statuses other than 200."""
    loop = asyncio.get_running_loop()
    idle: list[Connection] = []
    taken_ms: list[float] = []
    late_ms: list[float] = []
    bad: list[int] = []

    async def another() -> Connection:
        made = await loop.create_connection(
            lambda: Connection(idle, taken_ms, bad), "127.0.0.1", port
        )
        return made[1]

    idle += [await another() for _ in range(AHEAD)]
    wanted, start_s = int(rate * seconds), time.perf_counter()
    for number in range(wanted):
        due_s = start_s + number / rate
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        late_ms.append((time.perf_counter() - due_s) * 1e3)
        (idle.pop() if idle else await another()).ask(request)
    for _ in range(500):
        if len(taken_ms) == wanted:
            break
        await asyncio.sleep(0.02)
    return {
        "taken_ms": sorted(taken_ms),
        "late_p99_ms": sorted(late_ms)[int(0.99 * wanted)],
        "bad": bad,
        "lost": wanted - len(taken_ms),
    }


def main() -> None:
    port, rate, seconds, path, key = sys.argv[1:]
    body = sys.stdin.buffer.read()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    print(json.dumps(uvloop.run(measure(int(port), float(rate), float(seconds), request))))


if __name__ == "__main__":
    main()
