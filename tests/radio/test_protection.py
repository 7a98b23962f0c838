import os
import subprocess
import sys

import pytest

from aigrid.radio.counters import RUNNING, STOPPED, RadioStatus
from aigrid.radio.protection import may_step

SLOT_NS = 1_000_000


def _at(late_ns, **changes):
    values = {"state": RUNNING, "slot_ns": SLOT_NS, "next_slot_ns": 10**9, "need_high": 0.3}
    status = RadioStatus(**(values | changes))
    return may_step(status, status.next_slot_ns + late_ns)


def test_ai_steps_between_slots_and_during_an_undisturbed_one():
    assert _at(-500_000)
    assert _at(0)
    assert _at(300_000)


def test_ai_waits_while_the_radio_is_behind():
    assert not _at(600_000)
    assert not _at(5_000_000)


def test_ai_does_not_wait_for_a_dead_or_stopped_radio():
    assert _at(30_000_000)
    assert _at(600_000, state=STOPPED)
    assert may_step(RadioStatus(), 10**12)


@pytest.mark.parametrize(
    "call", ["yield_to_radio()", "protect_radio()", "protect_radio(realtime=False)"]
)
@pytest.mark.parametrize("user", [None, 65_534])
def test_the_kernel_reports_what_was_granted(call, user):
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    drop = f"import os; os.setgid({user}); os.setuid({user});" if user is not None else ""
    script = (
        "import resource, sys;"
        "sys.path[:] = [p for p in sys.path if p];"
        "from aigrid.radio.protection import *;"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096));"
        f"{drop} print({call})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    if call.startswith("yield"):
        assert done.stdout.strip() == "policy idle, nice 19"
    elif user is not None:
        assert done.stdout.startswith("policy normal, nice 0; refused: ")
        assert "nice -19: " in done.stdout
        assert ("SCHED_FIFO" in done.stdout) == (call == "protect_radio()")
