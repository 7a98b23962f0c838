"""Recordings on disk: every event that the orchestrator handled, for `aigrid replay`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from aigrid.control import recording
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.world import Timed
from aigrid.core.events import Command
from aigrid.core.run_record import EVENTS
from aigrid.live.paths import next_file

FILE_LIMIT_BYTES = 64 * 1024 * 1024
FILES_KEPT = 4
logger = logging.getLogger(__name__)


class Recorder:
    """Appends to a file; at its limit a new one begins, whose head holds the state so far.

    Where the disk is full the grid goes on and the recording ends, with a line in the log.

    Args:
        folder: where the files go, `events-<start>.jsonl`.
        orchestrator: whose decisions are recorded.
        commit: of the code.
    """

    def __init__(self, folder: Path, orchestrator: Orchestrator, commit: str) -> None:
        self._folder, self._orchestrator, self._commit = folder, orchestrator, commit
        self._file: TextIO | None = None
        self._size = self._sequence = 0
        self.path = Path()
        self._ended = False

    def __call__(self, timed: Timed, commands: Sequence[Command]) -> None:
        """Record one event and what was decided."""
        if self._ended:
            return
        try:
            self._write(timed, commands)
        except OSError as error:
            self._ended = True
            logger.error("recording %s ends: %s", self.path, error.strerror)

    def begin(self) -> None:
        """Start a file before the first event, so that it begins from the state as it is now."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.path = next_file(self._folder, EVENTS, FILES_KEPT)
        self._file = self.path.open("w", buffering=1)
        line = recording.head(self._orchestrator, self._commit)
        self._file.write(line)
        self._size, self._sequence = len(line), 0

    def close(self) -> None:
        """End the recording."""
        self._ended = True
        if self._file is not None:
            self._file.close()

    def _write(self, timed: Timed, commands: Sequence[Command]) -> None:
        assert self._file is not None
        line = recording.line(self._sequence, timed, commands)
        self._file.write(line)
        self._sequence += 1
        self._size += len(line)
        if self._size >= FILE_LIMIT_BYTES:
            self._file.close()
            self.begin()
