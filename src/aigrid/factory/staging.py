"""Build a folder aside and show it only when it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aigrid.core.errors import ConflictError, StorageError

MARKER = "service.json"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_file(path: Path, content: bytes) -> None:
    """Write and flush a new file.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, len(content), error) from error


def storage_error(path: Path, needed: int, error: OSError) -> StorageError:
    """Say what could not be written, and how much room it needs."""
    if error.errno in FULL:
        return StorageError(
            f"{path}: the disk is full; {needed} bytes are needed",
            next_step="free some space or choose another folder with --out",
        )
    return StorageError(
        f"{path}: cannot be written: {error.strerror or error}",
        next_step="choose a folder that can be written with --out",
    )


def check_room(out_dir: Path, needed: int) -> None:
    """Refuse before the long work, not after it.

    Raises:
        StorageError: the disk of `out_dir` has fewer than `needed` bytes free.
    """
    folder = next(p for p in (out_dir, *out_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{out_dir}: {needed} bytes are needed and {free} are free",
            next_step="free some space or choose another folder with --out",
        )


def check_target(out_dir: Path) -> None:
    """Refuse to replace what the factory did not make.

    Raises:
        ConflictError: a file, or a folder that holds something other than a model.
    """
    if not out_dir.exists() or (out_dir / MARKER).is_file():
        return
    if not out_dir.is_dir() or any(out_dir.iterdir()):
        raise ConflictError(
            f"{out_dir}: exists and is not a model folder", next_step="choose another --out folder"
        )


@contextmanager
def staged_folder(out_dir: Path) -> Iterator[Path]:
    """A folder beside `out_dir` that takes its place if the block ends well, else disappears.

    Raises:
        ConflictError: see `check_target`.
        StorageError: the folder cannot be made or renamed.
    """
    check_target(out_dir)
    out_dir = out_dir.absolute()
    aside = out_dir.with_name(f".{out_dir.name}.making.{os.getpid()}")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out_dir)
        aside.mkdir()
    except OSError as error:
        raise storage_error(aside, 0, error) from error
    try:
        yield aside
        _show(aside, out_dir)
    except OSError as error:
        raise storage_error(out_dir, 0, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _show(aside: Path, out_dir: Path) -> None:
    for folder in [aside, *(p for p in aside.rglob("*") if p.is_dir())]:
        _sync_folder(folder)
    check_target(out_dir)
    old = aside.with_name(f"{aside.name}.old")
    if out_dir.exists():
        out_dir.rename(old)
    try:
        aside.rename(out_dir)
    except OSError:
        if old.exists():
            old.rename(out_dir)
        raise
    _sync_folder(out_dir.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(out_dir: Path) -> None:
    """Clear what killed runs left: folders whose process is gone."""
    for folder in out_dir.parent.glob(f".{out_dir.name}.making.*"):
        owner = folder.name.removesuffix(".old").rpartition(".")[2]
        if owner.isdigit() and int(owner) != os.getpid() and not Path("/proc", owner).exists():
            if folder.name.endswith(".old") and not out_dir.exists():
                folder.rename(out_dir)  # killed between the two renames: the old model comes back
            else:
                shutil.rmtree(folder, ignore_errors=True)
