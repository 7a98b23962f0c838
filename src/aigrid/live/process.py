"""Entry of the grid's child processes: `python -m aigrid.live.process ROLE CONFIG.json`."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aigrid.live import logs

_PR_SET_PDEATHSIG = 1
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def die_with_parent(parent: int) -> None:
    """Be killed when the supervisor dies, however it dies, so that no orphan is left."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(f"parent {parent} is gone already")


def main(arguments: list[str]) -> int:
    """Run one role; returns the exit code."""
    role, path = arguments
    raw: dict[str, Any] = json.loads(Path(path).read_text())
    die_with_parent(raw.pop("parent"))
    for variable in _ONE_THREAD:
        os.environ.setdefault(variable, "1")
    name = Path(path).stem
    log = Path(log_path) if (log_path := raw.pop("log", "")) else None
    logs.set_up(name, raw.pop("log_level", "info"), log)
    if role == "control":
        from aigrid.live import control_process as chosen
    elif role == "gateway":
        from aigrid.live import gateway as chosen  # type: ignore[no-redef]
    elif role == "site":
        from aigrid.live import site_process as chosen  # type: ignore[no-redef]
    else:
        raise SystemExit(f"no such role: {role!r}")
    chosen.main(raw)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
