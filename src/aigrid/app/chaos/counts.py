"""What must be nothing, and what must be equal, in a grid that has come to rest."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from aigrid.app.chaos.grid import ChaosGrid
from aigrid.core.errors import AigridError
from aigrid.core.tenancy import DEFAULT_TENANT

BILLED_S = 20.0
DAY_S = 86400.0


async def open_counts(grid: ChaosGrid) -> dict[str, float]:
    """What still counts as open, by where: nothing in a grid at rest."""
    status = await grid.status()
    if not status:
        return {"control plane": 1.0}
    found = {
        f"{site['name']} {what}": float(replica[what])
        for site in status["sites"]
        for replica in site["replicas"]
        for what in ("running", "waiting")
    }
    found["gateway"] = float(status["gateway"]["in_flight"])
    return {k: v for k, v in (found | await _gateway_counts(grid)).items() if v}


async def _gateway_counts(grid: ChaosGrid) -> dict[str, float]:
    parts = urlsplit(grid.client.base_url)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{parts.netloc}/metrics") as response,
        ):
            lines = (await response.text()).splitlines()
    except aiohttp.ClientError:
        return {"gateway's metrics": 1.0}
    told = [line for line in lines if line.startswith("aigrid_gateway_in_flight{")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in told}


async def misbilled(grid: ChaosGrid) -> int:
    """Tokens of answers that are billed, less those that clients got; waits until they are equal.

    Every client asks until it has a whole answer, under one key a question: each answer is billed
    once, however often it was asked for.
    """
    deadline_s = time.monotonic() + BILLED_S
    while True:
        gap = await asyncio.to_thread(_billed_tokens, grid) - grid.delivered_tokens
        if not gap or time.monotonic() > deadline_s:
            return gap
        await asyncio.sleep(0.5)


def _billed_tokens(grid: ChaosGrid) -> int:
    """Of the months that a clock may have shown."""
    now_s, total = time.time(), 0
    for month in sorted({_month(now_s + days * DAY_S) for days in (-1, 0, 1)}):
        try:
            path = f"/control/v1/usage?tenant={DEFAULT_TENANT}&month={month}"
            told: dict[str, Any] = grid.client.call("GET", path)
        except AigridError:
            return -1  # the control plane does not answer yet
        total += sum(row["completion_tokens"] for row in told["rows"])
    return total


def _month(at_s: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(at_s))
