"""Logs of a process: JSON lines on standard error, in a file that turns over, at a bounded pace."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

from aigrid.core.errors import AigridError
from aigrid.core.log_line import log_line

FILE_LIMIT_BYTES = 16 * 1024 * 1024
LINES_PER_S = 200
FRAMES = 12
FIELDS = ("request_id", "trace_id", "service", "site", "status", "duration_ms", "reason", "code")
LEVELS = ("debug", "info", "warning", "error")
Level = Literal["debug", "info", "warning", "error"]
Failure = tuple[type[BaseException], BaseException, TracebackType | None]


def set_up(process: str, level: Level = "info", path: Path | None = None) -> None:
    """Write all logs of this process as JSON lines from now on.

    Args:
        process: its name.
        level: below it nothing is written.
        path: of the file that standard output and error go to; it turns over at its limit. None
            where they belong to somebody else.
    """
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(process, path)]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "asyncio", "opentelemetry", "urllib3", "nats"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)

    def report(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        if issubclass(kind, (KeyboardInterrupt, SystemExit)):
            sys.__excepthook__(kind, error, at)
        else:
            logging.getLogger(process).critical("ended by a fault", exc_info=(kind, error, at))

    sys.excepthook = report


class LineHandler(logging.Handler):
    """Writes records to standard error.

    Args:
        process: its name.
        path: see `set_up`.
        limit_bytes: of the file.
    """

    def __init__(
        self, process: str, path: Path | None = None, limit_bytes: int = FILE_LIMIT_BYTES
    ) -> None:
        super().__init__()
        self._process, self._path, self._limit_bytes = process, path, limit_bytes
        self._second, self._written, self._left_out = 0, 0, 0
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it where there are too many."""
        with self._guard:
            second = int(record.created)
            if second != self._second:
                left_out, self._left_out = self._left_out, 0
                self._second, self._written = second, 0
                if left_out:
                    self._write(self._say(record, f"{left_out} lines are left out here"))
            self._written += 1
            if self._written > LINES_PER_S:
                self._left_out += 1
                return
            self._write(self.format(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields = {name: getattr(record, name, None) for name in FIELDS}
        failure = record.exc_info
        if failure and failure[0] is not None:
            fields |= _failure(failure)
        return log_line(
            datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            record.levelname.lower(),
            self._process,
            record.name,
            record.getMessage(),
            **fields,
        )

    def _say(self, record: logging.LogRecord, message: str) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return log_line(when, "warning", self._process, __name__, message)

    def _write(self, line: str) -> None:
        try:
            os.write(2, line.encode() + b"\n")
            if self._path is not None and os.fstat(2).st_size > self._limit_bytes:
                turn_over(self._path)
        except OSError:
            self._left_out += 1  # a full disk must not stop the work; the count is told later


def turn_over(path: Path) -> None:
    """Go on in a new file; the old one replaces the one before it.

    What this process and the libraries in it write to standard output and error follows.

    Raises:
        OSError: the folder cannot be written.
    """
    path.replace(path.with_suffix(".log.1"))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
    finally:
        os.close(file)


def _failure(failure: Failure | tuple[None, None, None]) -> dict[str, str | list[str]]:
    """Where a fault came up, and of which kind; its words only where they are our own.

    A library's message may hold what a client sent.
    """
    kind, error, at = failure
    frames = traceback.extract_tb(at)[-FRAMES:]
    told: dict[str, str | list[str]] = {
        "error": kind.__name__ if kind is not None else "",
        "frames": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames],
    }
    if isinstance(error, AigridError):
        told["reason"] = str(error)
    return told
