"""Waiting for a time in a process under libfaketime.

Debian's libfaketime 0.9.10 takes waits until a monotonic moment, as Python's are, for waits until a
wall-clock time: `time.sleep` is refused (EINVAL), and a lock with a time limit comes back at once,
so that whoever waits for it spins. A `select` of nothing waits for a span, which it leaves alone.
"""

from __future__ import annotations

import select
import threading
import time

FIRST_S = 0.0005
LONGEST_S = 0.01


def install() -> None:
    """Let `time.sleep` and conditions (so events and queues) wait by `select`, in this process."""
    time.sleep = _sleep  # type: ignore[assignment]
    threading.Condition.wait = _wait  # type: ignore[method-assign, assignment]


def _sleep(seconds: float, /) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


def _wait(condition: threading.Condition, timeout: float | None = None) -> bool:
    """As `threading.Condition.wait`, and as Python waited before locks had time limits."""
    if timeout is None:
        return _WAIT(condition)
    waiter = threading.Lock()
    waiter.acquire()
    condition._waiters.append(waiter)  # type: ignore[attr-defined]
    state = condition._release_save()  # type: ignore[attr-defined]
    woken = False
    try:
        woken = _acquire(waiter, timeout)
        return woken
    finally:
        condition._acquire_restore(state)  # type: ignore[attr-defined]
        if not woken:
            _forget(condition, waiter)


def _acquire(lock: threading.Lock, timeout_s: float) -> bool:
    until_s, pause_s = time.monotonic() + timeout_s, FIRST_S
    while not lock.acquire(blocking=False):
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return False
        _sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LONGEST_S)
    return True


def _forget(condition: threading.Condition, waiter: threading.Lock) -> None:
    waiters = condition._waiters  # type: ignore[attr-defined]
    if waiter in waiters:
        waiters.remove(waiter)


_WAIT = threading.Condition.wait
