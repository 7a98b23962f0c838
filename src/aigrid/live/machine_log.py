"""What the machine of a recorded grid did: processor time of all, of the grid, and a core's speed.

It is measured beside the grid, not in it: no latency and no engine's time goes into it. So a twin
may be driven by it as by the arrivals and by the radio's load (docs/decisions/0225).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from aigrid.core import run_record
from aigrid.core.run_record import MachineRow, Row
from aigrid.live.run_log import RunLog

PERIOD_S = 0.2
# Each takes about 0.1 ms: five times a second, twice: 0.2% of a core.
_BLOCK = bytes(32 * 1024)
_FIELD = np.ones(384 * 1024, dtype=np.float32)
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED, linux/posix-timers.h; see clock_getcpuclockid(3)
_STAT = Path("/proc/stat")
_STATE, _NICE = 0, 16  # of a process's own, from its state on; proc_pid_stat(5)
_NICED, _IDLE = 2, (4, 5)  # of lower priority; idle and waiting for a disk, proc_stat(5)
# Each step of nice is a quarter more or less of a core (sched_prio_to_weight, kernel/sched/core.c).
_STEP = 1.25
# Who yields is looked up in this many readings, among so many processes at most: 10 us for each.
_LOOK_EVERY, _MOST = 5, 1000


class MachineLog:
    """Notes a `MachineRow` five times a second, from a thread of its own.

    Args:
        folder: of the recording.
        pids: gives the processes of the grid, and those of them that are radio front-ends.
    """

    def __init__(self, folder: Path, pids: Callable[[], tuple[list[int], list[int]]]) -> None:
        self._pids = pids
        self._spent_s: dict[int, float] = {}
        self._radios: set[int] = set()
        self._looks, self._weight, self._niced_s, self._yielding_s = 0, (1.0, 1.0), 0.0, 0.0
        self._log = RunLog(folder, run_record.MACHINE, self._sample, PERIOD_S)

    def close(self) -> None:
        """Write the rest."""
        self._log.close()

    def _sample(self) -> list[Row]:
        now_s, stat = time.monotonic(), _STAT.read_text()
        grid, radios = self._pids()
        own = sum(runnable(pid) for pid in grid)
        self._radios.update(radios)
        for pid in grid:
            # A process that ended keeps its last reading, so that sums never fall.
            with suppress(OSError):
                self._spent_s[pid] = time.clock_gettime(process_clock(pid))
        yielding_s = self._yield(stat, set(grid))
        row = MachineRow(
            at_s=now_s,
            busy_s=busy_s(stat, now_s),
            grid_s=sum(self._spent_s.values()),
            radio_s=sum(self._spent_s.get(pid, 0.0) for pid in self._radios),
            others=max(0, running(stat) - own) * self._weight[0],
            compute_s=_timed(_compute),
            memory_s=_timed(_pass_over),
            yielding_s=yielding_s,
        )
        return [row]

    def _yield(self, stat: str, grid: set[int]) -> float:
        """Processor time so far of niced others that the grid's threads would have got of it."""
        if self._looks % _LOOK_EVERY == 0:
            self._weight = weights(others_nice(grid), os.getpriority(os.PRIO_PROCESS, 0))
        self._looks += 1
        niced_s = int(stat.split(maxsplit=_NICED + 1)[_NICED]) / os.sysconf("SC_CLK_TCK")
        if self._looks > 1:
            self._yielding_s += (niced_s - self._niced_s) * (1.0 - self._weight[1])
        self._niced_s = niced_s
        return self._yielding_s


def process_clock(pid: int) -> int:
    """The clock of a process's processor time, as clock_getcpuclockid(3) gives it."""
    return (~pid << 3) | _PROCESS_CLOCK


def busy_s(stat: str, now_s: float) -> float:
    """Core-seconds that were not idle; only differences mean anything.

    Idle time is exact where the kernel stops its tick on idle cores; user and system time are
    samples of the tick.

    Args:
        stat: text of /proc/stat.
        now_s: when it was read.
    """
    lines = stat.splitlines()
    cores = sum(line.startswith("cpu") for line in lines) - 1
    fields = lines[0].split()
    idle_s = sum(int(fields[number]) for number in _IDLE) / os.sysconf("SC_CLK_TCK")
    return cores * now_s - idle_s


def running(stat: str) -> int:
    """Threads of the machine that run or wait to, from the text of /proc/stat."""
    found = (line.split()[1] for line in stat.splitlines() if line.startswith("procs_running"))
    return int(next(found, "0"))


def runnable(pid: int) -> int:
    """Threads of a process that run or wait to; 0 where it has ended."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(_fields(task / "stat")[_STATE] == "R" for task in tasks)
    except OSError:
        return 0


def _fields(path: Path) -> list[str]:
    """Of a process or thread, from its state on; its name before may hold anything."""
    text = path.read_text()
    return text[text.rindex(")") + 2 :].split()


def others_nice(grid: set[int]) -> list[int]:
    """Nice values of processes that run or wait to, and are not the grid's."""
    found = []
    processes = (folder for folder in Path("/proc").iterdir() if folder.name.isdigit())
    for folder in islice(processes, _MOST):
        if int(folder.name) in grid:
            continue
        # It may have ended meanwhile.
        with suppress(OSError):
            fields = _fields(folder / "stat")
            if fields[_STATE] == "R":
                found.append(int(fields[_NICE]))
    return found


def weights(nices: list[int], own: int) -> tuple[float, float]:
    """For how much of a thread of nice `own` others count: the mean of all, and of niced ones."""
    each = [_STEP ** (own - nice) for nice in nices]
    niced = [weight for weight, nice in zip(each, nices, strict=True) if nice > max(own, 0)]
    # A grid that is niced itself hides its own time among theirs: nothing is taken off.
    mean = sum(niced) / len(niced) if niced and own <= 0 else 1.0
    return (sum(each) / len(each) if each else 1.0), min(mean, 1.0)


def _timed(work: Callable[[], object]) -> float:
    work()  # into the caches
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s


def _compute() -> object:
    return hashlib.blake2b(_BLOCK).digest()


def _pass_over() -> object:
    return _FIELD.sum()
