"""Wall clocks that can be moved while a process runs, by libfaketime (a program of its own).

Its README, "Using the file FAKETIME_TIMESTAMP_FILE": the library is preloaded at the start of a
process and reads an offset from a file. Monotonic time goes on as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
MISSING = "libfaketime is not installed (Debian: apt-get install faketime)"
# Debian's libfaketime 0.9.10 takes a sleep until a monotonic moment, as Python's is, for one until
# a wall-clock time: it is refused (EINVAL). A `select` of nothing sleeps for a span.
CUSTOMISE = """import select
import time


def sleep(seconds):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = sleep
"""
SEEN_S = 1.0  # how long the library may go on with what it read before


def library() -> str:
    """The library that is preloaded; empty where there is none."""
    found = sorted(str(path) for pattern in LIBRARIES for path in Path("/").glob(pattern[1:]))
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """A clock for each process.

    Attributes:
        folder: of one file a process, and what Python reads at each start.
    """

    folder: Path

    def environment(self, process: str) -> dict[str, str]:
        """What a process must be started with."""
        self.move(process, 0.0)
        (self.folder / "sitecustomize.py").write_text(CUSTOMISE)
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(process)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else timed waits for locks, Python's own among them, come back at once and spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": str(int(SEEN_S)),
        }

    def move(self, process: str, by_s: float) -> None:
        """Let a process's clock be so far off; 0 is right."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file(process).write_text(f"{by_s:+.0f}\n")

    def _file(self, process: str) -> Path:
        return self.folder / f"clock-{process}"
