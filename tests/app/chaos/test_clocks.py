"""A process under a moved clock: wall time jumps, and everything else goes on as it was."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aigrid.app.chaos.clocks import MISSING, Clocks, library

ASKED = """
import queue, threading, time
time.sleep(0.05)
line, cpu_s = queue.Queue(), time.process_time()
try:
    line.get(timeout=0.5)
except queue.Empty:
    line.put("late")
threading.Timer(0.1, line.put, ("told",)).start()
assert (line.get(timeout=60), line.get(timeout=60)) == ("late", "told")
assert time.process_time() - cpu_s < 0.3  # it waits, and does not spin
print(time.time())
"""


@pytest.mark.skipif(not library(), reason=MISSING)
@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_only_wall_time_moves(tmp_path: Path, hours: int) -> None:
    clocks = Clocks(tmp_path / "clocks")
    environment = {**os.environ, **clocks.environment("p")}
    clocks.move("p", hours * 3600.0)
    asked = [sys.executable, "-c", ASKED]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert abs(float(told.stdout) - time.time() - hours * 3600.0) < 60.0
