"""What a person sees when a command fails: one line, the next step, and the right exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import click

from aigrid.cli.options import Setup, default_data
from aigrid.cli.output import wants_colour
from aigrid.core.errors import AigridError

EXIT_USAGE = 2
EXIT_SOFTWARE = 70  # sysexits.h: EX_SOFTWARE
EXIT_INTERRUPTED = 130


def report(error: BaseException, setup: Setup, *, as_json: bool) -> int:
    """Print the error and answer the exit code."""
    if isinstance(error, AigridError):
        return _tell(error.code, error.message, error.next_step, error.exit_code, as_json)
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return _tell("interrupted", "interrupted", "", EXIT_INTERRUPTED, as_json)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "aigrid"
        return _tell("usage", error.format_message(), f"see `{path} --help`", EXIT_USAGE, as_json)
    if isinstance(error, click.ClickException):
        return _tell("usage", error.format_message(), "", error.exit_code, as_json)
    summary = f"unexpected {type(error).__name__}: {error}"
    where = _write_traceback(error, setup)
    return _tell("internal_error", summary, f"the traceback is in {where}", EXIT_SOFTWARE, as_json)


def _tell(code: str, message: str, next_step: str, exit_code: int, as_json: bool) -> int:
    message, next_step = _one_line(message), _one_line(next_step)
    if as_json:
        shown: dict[str, Any] = {"code": code, "message": message, "next_step": next_step}
        click.echo(json.dumps({"error": shown | {"exit_code": exit_code}}, ensure_ascii=False))
        return exit_code
    text = f"{message}; {next_step}" if next_step else message
    mark = click.style("error:", fg="red", bold=True) if wants_colour(sys.stderr) else "error:"
    click.echo(f"{mark} {text}", err=True)
    return exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_traceback(error: BaseException, setup: Setup) -> Path:
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    text = "".join(traceback.format_exception(error))
    logs = (setup.data if setup.chosen else default_data()) / "logs"
    for folder in (logs, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        except OSError:  # the disk may be what failed; the next folder is the way out
            continue
        return folder / name
    return Path("/dev/null")
