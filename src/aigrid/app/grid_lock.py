"""One grid to a data directory: an exclusive lock that the kernel frees with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aigrid.core.errors import ConflictError, StorageError


@contextmanager
def grid_lock(lock: Path) -> Iterator[None]:
    """Hold the data directory's lock; the file says which process does.

    Raises:
        ConflictError: another process holds it.
        StorageError: the file cannot be written.
    """
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(
            f"lock {lock} cannot be opened: {error.strerror}",
            next_step="give a writable data directory with --data DIR",
        ) from error
    try:
        _take(handle, lock)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _take(handle: int, lock: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"process {written_pid(lock) or 'unknown'} runs a grid on data directory {lock.parent}",
            next_step="stop it with `aigrid down`, or give another directory with --data DIR",
        ) from None


def is_locked(lock: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def written_pid(lock: Path) -> int:
    """The process that the lock's file names; 0 where it names none."""
    try:
        text = lock.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
