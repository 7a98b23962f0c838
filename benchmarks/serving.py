"""A grid's serving path against the engine alone, and the gateway against the site behind it.

One site (a hub: no radio beside it), one gateway, real processes. The engine alone runs in this
process over the same package, with the same chunks taken from it. Rounds are interleaved and the
figures are medians of the rounds' ratios, so that a busy neighbour hits both sides.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from aigrid.engines.embedded import EmbeddedEngine
from aigrid.engines.engine import Job, Sampling
from aigrid.factory.progress import SilentProgress
from aigrid.factory.recipe import load_recipe
from aigrid.factory.run import make_model
from aigrid.live.client import ControlClient
from aigrid.live.paths import GridPaths, read_secret
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.radio.protection import yield_to_radio
from aigrid.store.store import Store
from benchmarks._rows import entry

_row = partial(entry, "serving")

RECIPE = Path(__file__).parent.parent / "recipes" / "first-light.yaml"
ROUNDS = 7
TOKENS = 192
PROMPT = "The function returns"
LATENCY_REQUESTS = 400
LEAST_RATIO = 0.85
MEMORY_LIMIT_MB = 250.0


@dataclass(frozen=True)
class Rig:
    """A running grid of one site, and the model's files."""

    model: str
    files: Path
    gateway_url: str
    site_url: str
    site_pid: int
    key: str
    grid_token: str


@contextmanager
def grid() -> Iterator[Rig]:
    """Make a model of the first recipe's shape (barely trained: speed does not depend on it)."""
    with tempfile.TemporaryDirectory(prefix="aigrid-bench-") as folder:
        data = Path(folder) / "grid"
        recipe = load_recipe(RECIPE)
        short = recipe.model_copy(
            update={"training": recipe.training.model_copy(update={"steps": 12})}
        )
        made = make_model(short, Path(folder) / "model", None, SilentProgress())
        store = Store(GridPaths(data).store)
        record = store.publish(made.path, "benchmark", time.time())
        supervisor = Supervisor(GridSettings(data=data, port=0, sites="0,1,0"))
        supervisor.start()
        try:
            client = ControlClient(data)
            client.deploy(record.ref)
            site = _await_site(client, supervisor)
            yield Rig(
                model=record.name,
                files=made.path,
                gateway_url=supervisor.base_url,
                site_url=site["url"] + "/v1",
                site_pid=site["pid"],
                key=client.api_key,
                grid_token=read_secret(GridPaths(data).grid_token),
            )
        finally:
            supervisor.stop()


def _await_site(client: ControlClient, supervisor: Supervisor) -> dict[str, Any]:
    for _ in range(600):
        supervisor.watch()
        status = client.status()
        if status["services"] and status["services"][0]["ready_sites"] == 1:
            site: dict[str, Any] = status["sites"][0]
            return site
        time.sleep(0.1)
    raise TimeoutError("the site did not become ready within 60 s")


async def _engine_rate(engine: EmbeddedEngine, streams: int) -> float:
    """Tokens a second of the engine alone."""

    async def one(number: int) -> int:
        sampling = Sampling(max_tokens=TOKENS, temperature=1.0, seed=number)
        made = 0
        async for chunk in engine.generate(Job(str(number), sampling, prompt=PROMPT)):
            made = chunk.completion_tokens
        return made

    began = time.perf_counter()
    made = await asyncio.gather(*(one(number) for number in range(streams)))
    return sum(made) / (time.perf_counter() - began)


async def _grid_rate(session: aiohttp.ClientSession, rig: Rig, streams: int) -> float:
    """Tokens a second streamed through gateway and site."""

    async def one(number: int) -> int:
        body = {
            "model": rig.model,
            "prompt": PROMPT,
            "max_tokens": TOKENS,
            "temperature": 1.0,
            "seed": number,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {"authorization": f"Bearer {rig.key}"}
        url = f"{rig.gateway_url}/completions"
        async with session.post(url, json=body, headers=headers) as response:
            response.raise_for_status()
            events = (await response.read()).split(b"\n\n")
        made: int = json.loads(events[-3][6:])["usage"]["completion_tokens"]
        return made

    began = time.perf_counter()
    made = await asyncio.gather(*(one(number) for number in range(streams)))
    return sum(made) / (time.perf_counter() - began)


async def _latency_ms(session: aiohttp.ClientSession, url: str, key: str, model: str) -> float:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    began = time.perf_counter()
    async with session.post(
        f"{url}/completions", json=body, headers={"authorization": f"Bearer {key}"}
    ) as response:
        response.raise_for_status()
        await response.read()
    return (time.perf_counter() - began) * 1e3


def _open_as_a_site_does(files: Path) -> EmbeddedEngine:
    """Open the engine in a thread that yields to the radio, which its own threads inherit."""

    def load() -> EmbeddedEngine:
        yield_to_radio()
        return EmbeddedEngine.open(files)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(load).result()


async def _ratios(rig: Rig) -> dict[int, tuple[float, float, float]]:
    """Per number of streams: median ratio, engine's and grid's median tokens a second."""
    engine = _open_as_a_site_does(rig.files)
    found = {}
    async with aiohttp.ClientSession() as session:
        for streams in (1, 8):
            await _engine_rate(engine, streams)
            await _grid_rate(session, rig, streams)
            pairs = []
            for _ in range(ROUNDS):
                alone = await _engine_rate(engine, streams)
                pairs.append((alone, await _grid_rate(session, rig, streams)))
            ratio = statistics.median(behind / alone for alone, behind in pairs)
            alone, behind = (statistics.median(column) for column in zip(*pairs, strict=True))
            found[streams] = (ratio, alone, behind)
    await engine.close()
    return found


async def _added_latency(rig: Rig) -> tuple[float, float, float]:
    """Added p50 and p99 in ms, and the site's own p50; requests alternate between the two."""
    direct, through = [], []
    async with aiohttp.ClientSession() as session:
        for _ in range(LATENCY_REQUESTS):
            direct.append(await _latency_ms(session, rig.site_url, rig.grid_token, rig.model))
            through.append(await _latency_ms(session, rig.gateway_url, rig.key, rig.model))
    low, high = (statistics.quantiles(t, n=100) for t in (direct, through))
    return high[49] - low[49], high[98] - low[98], low[49]


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} shows no resident size")


def run() -> list[dict[str, Any]]:
    """Rows for the table of `make bench`."""
    with grid() as rig:
        ratios = asyncio.run(_ratios(rig))
        p50_ms, p99_ms, site_ms = asyncio.run(_added_latency(rig))
        resident_mb = _resident_mb(rig.site_pid)
    rows = [
        _row(
            f"gateway + site / engine alone, {streams} streams",
            ratio,
            "ratio of tokens/s",
            f">= {LEAST_RATIO}",
            "held" if ratio >= LEAST_RATIO else "lost",
            f"engine {alone:,.0f} tokens/s, grid {behind:,.0f}; median of {ROUNDS} rounds",
        )
        for streams, (ratio, alone, behind) in ratios.items()
    ]
    note = f"{LATENCY_REQUESTS} alternating requests of 1 token; site alone p50 {site_ms:.2f} ms"
    return [
        *rows,
        _row("gateway, added p50", p50_ms, "ms", "none set", "measured", note),
        _row("gateway, added p99", p99_ms, "ms", "none set", "measured", note),
        _row(
            "site process, resident",
            resident_mb,
            "MB",
            f"< {MEMORY_LIMIT_MB:.0f}",
            "held" if resident_mb < MEMORY_LIMIT_MB else "lost",
            "model loaded, after serving the requests above",
        ),
    ]
