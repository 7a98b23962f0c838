"""Radio first: what the radio and the AI ask of the operating system, and the AI's own manners.

Two layers. The kernel's scheduler lets a radio process run the moment a slot is received: that
needs no cooperation and holds in the middle of an AI step. On top of it `may_step` keeps the AI
from beginning a step while the radio is behind. Scheduling is set per thread and inherited by
threads and processes started later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from aigrid.radio.clock import lock_memory, set_timer_slack_ns
from aigrid.radio.counters import RUNNING, RadioStatus

_AUTOGROUP = Path("/proc/self/autogroup")
REALTIME_PRIORITY = 50
RADIO_NICE = -19
AI_NICE = 19


@dataclass(frozen=True, slots=True)
class Achieved:
    """What the operating system granted.

    Attributes:
        policy: `fifo`, `normal`, `batch` or `idle`.
        nice: resulting nice value (without meaning under `fifo`).
        memory_locked: touched pages stay in memory.
        degraded: what was asked for and refused, and why; empty where all was granted.
    """

    policy: str
    nice: int
    memory_locked: bool = False
    degraded: tuple[str, ...] = ()

    def __str__(self) -> str:
        granted = f"policy {self.policy}, nice {self.nice}"
        locked = ", memory locked" if self.memory_locked else ""
        refused = f"; refused: {', '.join(self.degraded)}" if self.degraded else ""
        return granted + locked + refused


def protect_radio(*, realtime: bool = True) -> Achieved:
    """Put the calling thread before everything else: SCHED_FIFO, else nice, else as it is.

    Nice comes with a session of its own where the kernel groups processes by session, so that it
    also weighs against other sessions' processes (docs/decisions/0041).

    Args:
        realtime: try SCHED_FIFO; otherwise begin with nice.
    """
    refused: list[str] = []
    set_timer_slack_ns(1)
    reason = lock_memory()
    if reason:
        refused.append(f"mlockall: {reason}")
    fifo = realtime and _try_fifo(refused)
    # Without the right to a negative nice a session of its own would only part the radio from AI
    # that yields within the common one.
    if not fifo and _try_nice(RADIO_NICE, refused):
        _try_own_autogroup(refused)
    return _achieved(memory_locked=not reason, refused=refused)


def yield_to_radio(thread_id: int = 0) -> Achieved:
    """Put an AI thread behind everything else: SCHED_IDLE, nice 19. Needs no privilege.

    It holds within the session: start AI in the radio's session, or give the radio SCHED_FIFO.
    A SCHED_IDLE thread is preempted by any normal thread that wakes; a merely nice one may run to
    the end of its time slice first (docs/decisions/0041).

    Args:
        thread_id: kernel id of the thread; 0 is the caller, whose later threads and children
            inherit it.
    """
    refused: list[str] = []
    _try_nice(AI_NICE, refused, thread_id)
    try:
        os.sched_setscheduler(thread_id, os.SCHED_IDLE, os.sched_param(0))
    except OSError as error:
        refused.append(f"SCHED_IDLE: {error.strerror}")
    return _achieved(thread_id, refused=refused)


def may_step(
    status: RadioStatus, now_ns: int, *, tolerance_ns: int = 200_000, patience_ns: int = 20_000_000
) -> bool:
    """Whether AI may begin its next step: not while the radio is behind.

    The radio is behind when the slot it works on, or waits for, was received longer ago than an
    undisturbed slot takes (its need, and a tolerance for waking up). A front-end that has not
    written for `patience_ns` is dead or stopped: it protects nobody, so it holds nobody up.

    Args:
        status: the site's newest reading of the counters.
        now_ns: CLOCK_MONOTONIC.
        tolerance_ns: wake-up and measurement.
        patience_ns: longest that AI waits for one slot.
    """
    late_ns = now_ns - status.next_slot_ns
    if status.state != RUNNING or late_ns <= 0 or late_ns > patience_ns:
        return True
    undisturbed_ns = status.need_high * status.slot_ns
    return late_ns <= undisturbed_ns + tolerance_ns


def _try_fifo(refused: list[str]) -> bool:
    try:
        # Reset on fork: a child of the radio is not radio.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
    except OSError as error:
        refused.append(f"SCHED_FIFO: {error.strerror}")
        return False
    return True


def _try_own_autogroup(refused: list[str]) -> None:
    # With autogroups nice weighs only within a session; across sessions the group's own nice does
    # (man 7 sched). Beside busy processes of other sessions nice alone protects nothing.
    if not _AUTOGROUP.exists():
        return
    try:
        if os.getsid(0) != os.getpid():
            os.setsid()
        _AUTOGROUP.write_text(str(RADIO_NICE))
    except OSError as error:
        refused.append(f"autogroup nice {RADIO_NICE}: {error.strerror}")


def _try_nice(value: int, refused: list[str], thread_id: int = 0) -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, thread_id, value)
    except OSError as error:
        refused.append(f"nice {value}: {error.strerror}")
        return False
    return True


def _achieved(thread_id: int = 0, *, memory_locked: bool = False, refused: list[str]) -> Achieved:
    names = {os.SCHED_FIFO: "fifo", os.SCHED_BATCH: "batch", os.SCHED_IDLE: "idle"}
    policy = os.sched_getscheduler(thread_id) & ~os.SCHED_RESET_ON_FORK
    nice = os.getpriority(os.PRIO_PROCESS, thread_id)
    return Achieved(names.get(policy, "normal"), nice, memory_locked, tuple(refused))
