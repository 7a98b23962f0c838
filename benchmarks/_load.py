"""Poisson arrivals of mixed requests at an OpenAI endpoint: a process of its own.

`python -m benchmarks._load URL KEY MODEL RATE SECONDS SEED` sends `RATE` requests a second, 60% of
them streamed, prompts of 8 to 140 tokens, answers of at most 4 to 100, and prints what came back.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp
import numpy as np

STREAMED = 0.6
PROMPT_TOKENS = (8, 140)
ANSWER_TOKENS = (4, 100)
VOCABULARY = (5, 1500)
TIMEOUT_S = 60.0


async def send(
    url: str, key: str, model: str, rate: float, seconds: float, seed: int
) -> dict[str, int]:
    """Send the load; how many requests were answered, refused or lost."""
    dice = np.random.default_rng(seed)
    counts = {"asked": 0, "answered": 0, "failed": 0}
    head = {"authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(
        headers=head, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def ask(body: dict[str, object]) -> None:
            try:
                async with session.post(f"{url}/completions", json=body) as answer:
                    await answer.read()
                    counts["answered" if answer.status == 200 else "failed"] += 1
            except (aiohttp.ClientError, TimeoutError):
                counts["failed"] += 1

        due_s = time.perf_counter()
        end_s = due_s + seconds
        tasks = set()
        while (due_s := due_s + float(dice.exponential(1.0 / rate))) < end_s:
            body = {
                "model": model,
                "prompt": dice.integers(*VOCABULARY, size=dice.integers(*PROMPT_TOKENS)).tolist(),
                "max_tokens": int(dice.integers(*ANSWER_TOKENS)),
                "stream": bool(dice.random() < STREAMED),
            }
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            counts["asked"] += 1
            task = asyncio.create_task(ask(body))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return counts


def main() -> None:
    url, key, model, rate, seconds, seed = sys.argv[1:]
    print(json.dumps(asyncio.run(send(url, key, model, float(rate), float(seconds), int(seed)))))


if __name__ == "__main__":
    main()
