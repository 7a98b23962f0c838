"""What a recorded grid's machine did: read from the kernel, beside the grid."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.live.test_run_log import rows_in

from aigrid.core.run_record import MachineRow
from aigrid.live import machine_log
from aigrid.live.machine_log import MachineLog, busy_s, process_clock, runnable, running

STAT = """\
cpu  500 0 300 1000 200 0 0 90 0 0
cpu0 250 0 150 500 100 0 0 45 0 0
cpu1 250 0 150 500 100 0 0 45 0 0
intr 1 2 3
procs_running 3
procs_blocked 0
"""


def test_busy_is_what_was_not_idle() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_s(STAT, 20.0) == pytest.approx(2 * 20.0 - 1200 / ticks)
    assert running(STAT) == 3


def test_a_process_that_computes_is_seen_running() -> None:
    before_s = time.clock_gettime(process_clock(os.getpid()))
    assert runnable(os.getpid()) >= 1
    assert time.clock_gettime(process_clock(os.getpid())) > before_s


def test_who_yields_counts_for_as_much_less_as_it_gets() -> None:
    assert machine_log.weights([], 0) == (1.0, 1.0)
    assert machine_log.weights([0, 0], 0) == (1.0, 1.0)
    mean, niced = machine_log.weights([0, 19], 0)
    assert niced == pytest.approx(15 / 1024, rel=0.02)  # as the kernel's table has it
    assert mean == pytest.approx((1.0 + niced) / 2.0)
    # Beside a grid that is niced alike all are equal again.
    assert machine_log.weights([10], 10) == (1.0, 1.0)


def test_a_job_of_the_lowest_priority_is_seen_to_yield(tmp_path: Path) -> None:
    with subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", "while True: pass"]) as job:
        try:
            log = MachineLog(tmp_path, lambda: ([os.getpid()], []))
            deadline_s, rows = time.monotonic() + 20.0, []
            while time.monotonic() < deadline_s and not (rows and rows[-1].yielding_s > 0.3):
                time.sleep(0.1)
                found = rows_in(tmp_path, "machine-*.jsonl")
                rows = [row for row in found if isinstance(row, MachineRow)]
            log.close()
        finally:
            job.kill()
    assert rows[-1].yielding_s > 0.3
    assert rows[-1].yielding_s <= rows[-1].busy_s - rows[0].busy_s + 0.5


def test_a_process_that_is_gone_runs_nothing() -> None:
    assert runnable(2**22 + 1) == 0


def test_counters_never_fall_when_processes_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A front-end that is started again counts on from where the first one ended."""
    monkeypatch.setattr(machine_log, "PERIOD_S", 0.01)
    alive = iter([([os.getpid(), os.getppid()], [os.getppid()]), ([os.getpid()], [])])
    last = ([os.getpid()], [])
    log = MachineLog(tmp_path, lambda: next(alive, last))
    deadline_s = time.monotonic() + 10.0
    while len(rows_in(tmp_path, "machine-*.jsonl")) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    log.close()
    rows = [row for row in rows_in(tmp_path, "machine-*.jsonl") if isinstance(row, MachineRow)]
    assert len(rows) >= 3
    for before, after in pairwise(rows):
        assert after.at_s > before.at_s and after.busy_s >= before.busy_s - 0.1
        assert after.grid_s >= before.grid_s > 0.0
        assert after.radio_s == before.radio_s
        assert after.compute_s > 0.0 and after.memory_s > 0.0 and after.others >= 0
