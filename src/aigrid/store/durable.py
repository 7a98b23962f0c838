"""Writing so that nothing half-written is ever visible: aside, fsync, rename."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aigrid.core.errors import StorageError

CHUNK_BYTES = 1 << 20
_TEMPORARY = ".tmp-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def storing(what: str, where: Path) -> Iterator[None]:
    """Turn the operating system's errors into one line that says what could not be stored where.

    Raises:
        StorageError: any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        step = (
            f"free some space under {where} and run it again; nothing was half-written"
            if error.errno in _NO_ROOM
            else f"check that {where} can be read and written"
        )
        raise StorageError(
            f"cannot store {what} in {where}: {error.strerror}", next_step=step
        ) from error


def temporary_beside(target: Path) -> Path:
    """A fresh name in the target's directory; it holds our process id for `sweep_temporaries`."""
    return target.parent / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"


@contextmanager
def written_aside(target: Path, mode: int = 0o644) -> Iterator[int]:
    """Yield a descriptor to fill; on success it is synced and renamed to `target`.

    On any error the temporary file is removed and `target` is as it was.
    """
    aside = temporary_beside(target)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.rename(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def write_durably(target: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a small file as a whole."""
    with written_aside(target, mode) as descriptor:
        write_all(descriptor, (content,))


def write_all(descriptor: int, chunks: Iterable[bytes]) -> None:
    """Write every byte of every chunk; `os.write` may take fewer than it is given."""
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]


def read_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, `CHUNK_BYTES` at a time."""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def sync_directory(directory: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(lock_file: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes and threads; the kernel frees it with its holder."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a whole directory; one that is gone already is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def stale_temporaries(directory: Path) -> list[Path]:
    """What writers that are no longer alive left behind in a directory."""
    return [p for p in sorted(directory.glob(f"{_TEMPORARY}*")) if not _writer_lives(p)]


def _writer_lives(temporary: Path) -> bool:
    pid = temporary.name.removeprefix(_TEMPORARY).partition("-")[0]
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
