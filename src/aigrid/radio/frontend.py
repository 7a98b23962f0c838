"""Process of one cell's front-end: `python -m aigrid.radio.frontend --config FILE.json`.

Ends with exit code 0 on SIGTERM or SIGINT, or when the process that started it is gone. An error
is one line on standard error and the exit code of its class. One line on standard output says it
is ready.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aigrid.core.errors import AigridError, UnavailableError
from aigrid.core.log_line import log_line

if TYPE_CHECKING:
    from aigrid.radio.config import FrontendConfig
    from aigrid.radio.slots import SlotLoop

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Say = Callable[[str, str], str]  # level and message to a line


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m aigrid.radio.frontend", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON configuration")
    parser.add_argument(
        "--parent", type=int, default=0, help="end unless this process is the parent"
    )
    parser.add_argument("--json", action="store_true", help="lines of JSON, as other processes")
    options = parser.parse_args(arguments)
    say = _json_line if options.json else _plain_line
    try:
        _run(options.config, options.parent, say)
    except AigridError as error:
        sys.stderr.write(say("error", f"radio front-end: {error}"))
        return error.exit_code
    return 0


def _plain_line(level: str, message: str) -> str:
    return message + "\n"


def _json_line(level: str, message: str) -> str:
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    return log_line(when, level, "radio", __name__, message) + "\n"


def _run(path: Path, parent: int, say: Say) -> None:
    started_s = time.monotonic()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    parent = _die_with_parent(parent)
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    # Imported here: --help stays quick, and the variables above must stand before numpy loads.
    from aigrid.radio.config import load_config
    from aigrid.radio.counters import RadioCounters

    config = load_config(path)
    _keep_compiled_kernels(config, say)
    with RadioCounters.create(config.counters) as counters:
        # The compiler loads last: what is wrong with the start shows before it.
        from aigrid.radio.slots import SlotLoop

        loop = SlotLoop(config, counters)
        error_rate = loop.warm_up()
        _stop_on_signals(loop)
        protected = _protect(config)
        # A collection can take longer than a slot; the loop makes no cycles to collect.
        gc.collect()
        gc.freeze()
        gc.disable()
        loop.announce()
        ready = (
            f"ready: {config.site}/{config.cell.name} in {time.monotonic() - started_s:.1f} s, "
            f"raw bit error rate {error_rate:.1e}, {protected}"
        )
        sys.stdout.write(say("info", ready))
        sys.stdout.flush()
        loop.run(parent)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _die_with_parent(expected: int) -> int:
    from aigrid.radio.clock import signal_on_parent_death

    parent = os.getppid()
    if expected and parent != expected:
        raise UnavailableError(f"parent process {expected} is gone", next_step="start it again")

    def check(*_: object) -> None:
        # The kernel also signals when only the thread that started this process has ended.
        if os.getppid() != parent:
            raise SystemExit(0)

    signal.signal(signal.SIGUSR2, check)
    signal_on_parent_death(signal.SIGUSR2)
    return parent


def _keep_compiled_kernels(config: FrontendConfig, say: Say) -> None:
    if config.cache_dir is None:
        return
    try:
        config.cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"radio front-end: cache_dir {config.cache_dir}: {error.strerror}"
        sys.stderr.write(say("warning", said))
        return
    os.environ["NUMBA_CACHE_DIR"] = str(config.cache_dir)


def _stop_on_signals(loop: SlotLoop) -> None:
    def stop(*_: object) -> None:
        loop.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # From here on the loop looks for its parent itself, and leaves in good order.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _protect(config: FrontendConfig) -> str:
    from aigrid.radio.protection import protect_radio

    if config.protection == "off":
        return "not protected"
    return str(protect_radio(realtime=config.protection == "realtime"))


if __name__ == "__main__":
    sys.exit(main())
