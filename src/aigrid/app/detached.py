"""A grid that outlives the command that started it: start, wait for its word, and stop it.

The grid's process tells how far it is over a pipe, one JSON object a line: `stage`, `advance`,
`ready` or `error`. After `ready` or `error` it closes the pipe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from aigrid.app.grid_lock import grid_lock, is_locked, written_pid
from aigrid.core import errors
from aigrid.factory.progress import Fact, Progress
from aigrid.live.paths import GridPaths

DOWN_S = 15.0
PERIOD_S = 0.05
TAIL_LINES = 12
PATIENCE_TO_END_S = 20.0
_BY_CODE: dict[str, type[errors.AigridError]] = {
    kind.code: kind for kind in errors.AigridError.__subclasses__()
}


class PipeReporter:
    """The grid's side of the pipe; also the `Progress` that it hands to the factory.

    Args:
        descriptor: to write to.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def stage(self, name: str, total: int) -> None:
        """A new stage begins."""
        self.tell("stage", {"name": name, "total": total})

    def advance(self, n: int = 1, **facts: Fact) -> None:
        """Another `n` units are done."""
        self.tell("advance", {"n": n, "facts": facts})

    def tell(self, kind: str, value: dict[str, Any]) -> None:
        """Write one line; when nobody listens any more the grid goes on without."""
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, json.dumps({kind: value}).encode() + b"\n")
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """The last word is said."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def start_detached(
    arguments: Sequence[str],
    paths: GridPaths,
    progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run `aigrid ARGUMENTS` in a session of its own and return when its grid is ready.

    Args:
        arguments: of the `up` command, without `--detach`; `--report-to` is added.
        paths: of the data directory; the output goes to its logs.
        progress: hears the stages.
        environment: added to this process's: secrets, which arguments would show to everybody.

    Returns:
        What the grid said about itself, plus `pid` and `log`.

    Raises:
        AigridError: the one that the grid's process ended with.
        UnavailableError: it ended without a word.
        KeyboardInterrupt: passed on after the process was stopped.
    """
    paths.make()
    log = paths.log("up")
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "aigrid.cli.main", *arguments, f"--report-to={writing}"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(writing,),
            env={**os.environ, **(environment or {})},
        )
    os.close(writing)
    try:
        return _follow(reading, process, log, progress)
    except BaseException:
        _end(process)
        raise


def _follow(
    reading: int, process: subprocess.Popen[bytes], log: Path, progress: Progress
) -> dict[str, Any]:
    for kind, value in _lines(reading):
        if kind == "stage":
            progress.stage(value["name"], value["total"])
        elif kind == "advance":
            progress.advance(value["n"], **value["facts"])
        elif kind == "error":
            known = _BY_CODE.get(value["code"], errors.AigridError)
            raise known(value["message"], next_step=value["next_step"])
        elif kind == "ready":
            ready: dict[str, Any] = value | {"pid": process.pid, "log": str(log)}
            return ready
    code = process.wait(PATIENCE_TO_END_S)
    raise errors.UnavailableError(
        f"the grid's process ended with code {code} before it was ready: {_tail(log)}",
        next_step=f"see {log}",
    )


def _lines(reading: int) -> Iterator[tuple[str, dict[str, Any]]]:
    with os.fdopen(reading, "rb") as pipe:
        for line in pipe:
            yield next(iter(json.loads(line).items()))


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return " | ".join(line.strip() for line in lines if line.strip()) or "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(DOWN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_grid(paths: GridPaths) -> dict[str, Any]:
    """Stop the grid of a data directory and wait until every process is gone.

    Returns:
        `pid`, `was_running` and, where it ran, `seconds` until it was gone.

    Raises:
        UnavailableError: nothing runs there, or it does not end.
    """
    started_s, pid = time.monotonic(), written_pid(paths.lock)
    if not is_locked(paths.lock):
        return _clear_stale(paths, pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while is_locked(paths.lock):
        if time.monotonic() - started_s > DOWN_S:
            raise errors.UnavailableError(
                f"process {pid} does not end within {DOWN_S:.0f} s",
                next_step=f"kill -9 {pid}; its processes end with it",
            )
        time.sleep(PERIOD_S)
    return {"pid": pid, "was_running": True, "seconds": round(time.monotonic() - started_s, 1)}


def _clear_stale(paths: GridPaths, pid: int) -> dict[str, Any]:
    """A grid that was killed leaves its record behind; remove it."""
    if not pid and not paths.grid_json.exists():
        raise errors.UnavailableError(
            f"no grid runs on data directory {paths.data}",
            next_step="name its directory with --data DIR",
        )
    with grid_lock(paths.lock):  # empties the file when it lets go
        paths.grid_json.unlink(missing_ok=True)
    return {"pid": pid, "was_running": False}
