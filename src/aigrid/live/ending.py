"""Ends tasks that a library may have made deaf."""

from __future__ import annotations

import asyncio
from typing import Any

HEARD_WITHIN_S = 1.0
TIMES = 10


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended; what became of them is dropped.

    One `cancel` may be lost: before Python 3.12 `asyncio.wait_for` returns a result that came in
    the same moment instead (python/cpython issue 86296), and who called it goes on.

    Raises:
        RuntimeError: one goes on whatever it is told.
    """
    for _ in range(TIMES):
        going = [task for task in tasks if not task.done()]
        if not going:
            break
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=HEARD_WITHIN_S)
    else:
        raise RuntimeError(f"{going} does not end")
    await asyncio.gather(*tasks, return_exceptions=True)
