"""Waiting for an absolute time and other calls of the C library that Python does not offer."""

from __future__ import annotations

import ctypes
import os
import signal

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def sleep_until_ns(deadline_ns: int) -> None:
    """Sleep to a CLOCK_MONOTONIC time or a signal; the caller looks at the clock again.

    An absolute sleep cannot drift, and being preempted before it begins does not lengthen it.
    """
    until = _Timespec(*divmod(deadline_ns, 1_000_000_000))
    _LIBC.clock_nanosleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, ctypes.byref(until), None)


def set_timer_slack_ns(slack_ns: int) -> bool:
    """How much later than asked the kernel may wake this thread; 50 microseconds by default."""
    return int(_LIBC.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)) == 0


def signal_on_parent_death(number: signal.Signals) -> bool:
    """Have the kernel send a signal when the thread that started this process ends."""
    return int(_LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)) == 0


def lock_memory() -> str:
    """Keep touched pages in memory; returns an empty string, or why it could not be done.

    Pages are locked as they are first touched: locking all of the compiler's mapped libraries at
    once would multiply the resident size.
    """
    if _LIBC.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return ""
    return os.strerror(ctypes.get_errno())
