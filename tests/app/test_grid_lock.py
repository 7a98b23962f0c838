import os
import subprocess
import sys
from pathlib import Path

import pytest

from aigrid.app.detached import stop_grid
from aigrid.app.grid_lock import grid_lock, is_locked, written_pid
from aigrid.core.errors import ConflictError, StorageError, UnavailableError
from aigrid.live.paths import GridPaths


def test_one_holder_whose_process_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with grid_lock(lock):
        assert is_locked(lock)
        assert written_pid(lock) == os.getpid()
        with pytest.raises(ConflictError, match=str(os.getpid())), grid_lock(lock):
            pass
    assert not is_locked(lock)
    assert written_pid(lock) == 0


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from aigrid.app.grid_lock import grid_lock\n"
        "with grid_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_locked(lock)
        holder.kill()
    assert not is_locked(lock)
    assert written_pid(lock) == holder.pid
    with grid_lock(lock):
        pass


def test_down_says_what_was_stale(tmp_path: Path) -> None:
    paths = GridPaths(tmp_path)
    with pytest.raises(UnavailableError, match="no grid runs"):
        stop_grid(paths)
    paths.lock.write_text("999999\n")
    paths.run.mkdir()
    paths.grid_json.write_text("{}")
    assert stop_grid(paths) == {"pid": 999999, "was_running": False}
    assert not paths.grid_json.exists()


def test_a_lock_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--data DIR"), grid_lock(tmp_path / "none" / "lock"):
        pass
