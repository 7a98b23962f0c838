"""A recorded run on disk: rows go into a line in memory, a thread of its own writes them.

`aigrid up --record DIR` fills DIR with `run.json` (topology, versions, clocks), the control plane's
events (`events-*.jsonl`), the gateway's requests (`requests-*.jsonl`) and each site's jobs and
engine counters (`site-NAME-*.jsonl`), and what the machine did (`machine-*.jsonl`). It holds
neither prompts nor answers nor keys.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TextIO

from aigrid.core import codec, run_record
from aigrid.core.errors import ConflictError, StorageError
from aigrid.core.run_record import DropRow, Row
from aigrid.live.paths import next_file, write_json
from aigrid.radio.topology import PlannedSite

LINE_LIMIT = 65_536
PERIOD_S = 0.25
FILE_LIMIT_BYTES = 16 * 1024 * 1024
FILES_KEPT = 16
logger = logging.getLogger(__name__)


def check_free(folder: Path) -> None:
    """See that a folder holds no run yet.

    Raises:
        ConflictError: it does.
    """
    if (folder / run_record.RUN_FILE).exists():
        raise ConflictError(
            f"{folder} holds a recorded run", next_step="give --record an empty or new folder"
        )


def begin(folder: Path, commit: str, planned: Iterable[PlannedSite]) -> None:
    """Write `run.json` in a folder that holds no run yet.

    Raises:
        ConflictError: it does.
        StorageError: it cannot be written.
    """
    check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made: {error.strerror}", next_step="give --record another folder"
        ) from error
    sites = []
    for plan in planned:
        profile = plan.profile.model_dump(mode="json") if plan.profile else None
        sites.append(codec.to_plain(plan.site) | ({"profile": profile} if profile else {}))
    run = {
        "aigrid_run": run_record.FORMAT,
        "commit": commit,
        "started_at_s": time.time(),
        "monotonic_s": time.monotonic(),
        "host_cores": len(os.sched_getaffinity(0)),
        "sites": sites,
    }
    write_json(folder / run_record.RUN_FILE, run)


def key_of(request_id: str) -> str:
    """What joins a request with its job; an id chosen by a client stays out of the recording."""
    return blake2b(request_id.encode(), digest_size=8).hexdigest()


class RunLog:
    """Appends rows to rotated files. `note` costs an append to a list in memory.

    Rows that find `LINE_LIMIT` others in line are dropped and counted. At `FILE_LIMIT_BYTES` a new
    file begins; of each process the newest `FILES_KEPT` are kept. Where the disk is full the grid
    goes on and the recording ends, with a line in the log.

    Args:
        folder: where the files go, `NAME-<milliseconds>.jsonl`.
        name: of the files.
        sample: asked for more rows every period, from the writing thread.
        period_s: of writing; `PERIOD_S` for None.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        sample: Callable[[], list[Row]],
        period_s: float | None = None,
    ) -> None:
        self._folder, self._name, self._sample = folder, name, sample
        self._period_s = PERIOD_S if period_s is None else period_s
        self._rows: deque[Row] = deque()
        self._dropped = self._size = 0
        self._file: TextIO | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="run-log", daemon=True)
        self._thread.start()

    def note(self, row: Row) -> None:
        """Put a row in line."""
        if len(self._rows) >= LINE_LIMIT:
            self._dropped += 1
        else:
            self._rows.append(row)

    def close(self) -> None:
        """Write what is in line and end."""
        self._closing.set()
        self._thread.join(2.0)

    def _work(self) -> None:
        try:
            while not self._closing.wait(self._period_s):
                self._write()
            self._write()
        except OSError as error:
            logger.error("the recording in %s ends: %s", self._folder, error.strerror)
            self._rows = deque(maxlen=0)
        finally:
            if self._file is not None:
                self._file.close()

    def _write(self) -> None:
        rows = self._sample()
        rows += [self._rows.popleft() for _ in range(len(self._rows))]
        if self._dropped:
            rows.append(DropRow(time.monotonic(), self._dropped))
            self._dropped = 0
        if not rows:
            return
        text = "".join(
            json.dumps(run_record.encode(row), separators=(",", ":")) + "\n" for row in rows
        )
        file = self._file or self._open()
        file.write(text)
        file.flush()
        self._size += len(text)
        if self._size >= FILE_LIMIT_BYTES:
            file.close()
            self._file = None

    def _open(self) -> TextIO:
        self._file = next_file(self._folder, self._name, FILES_KEPT).open("x")
        self._size = 0
        return self._file
