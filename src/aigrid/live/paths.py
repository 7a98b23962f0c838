"""Where a grid keeps its files: one data directory, one name for each thing in it."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import StorageError


@dataclass(frozen=True, slots=True)
class GridPaths:
    """The layout of a data directory.

    Attributes:
        data: its root.
    """

    data: Path

    @property
    def lock(self) -> Path:
        """Held (flock) by the process that runs the grid."""
        return self.data / "lock"

    @property
    def grid_json(self) -> Path:
        """Who runs the grid and where it answers; there while it runs."""
        return self.data / "run" / "grid.json"

    @property
    def run(self) -> Path:
        """Files that live as long as the processes do."""
        return self.data / "run"

    @property
    def store(self) -> Path:
        """The store: OCI layout, catalogue, keys."""
        return self.data / "store"

    @property
    def database(self) -> Path:
        """The control plane's SQLite database."""
        return self.data / "control.sqlite"

    @property
    def upstreams(self) -> Path:
        """What an operator grants to upstream engines, see `engines.egress`."""
        return self.data / "upstreams.json"

    @property
    def accounts(self) -> Path:
        """Tenants, keys, grants and usage, in SQLite."""
        return self.data / "accounts.sqlite"

    @property
    def database_json(self) -> Path:
        """Which PostgreSQL database holds all that, where one does."""
        return self.data / "database.json"

    @property
    def audit(self) -> Path:
        """The audit log, see `live.audit`."""
        return self.data / "audit"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.data / "logs"

    @property
    def records(self) -> Path:
        """Recordings of the orchestrator's events, for `aigrid replay`."""
        return self.data / "records"

    @property
    def api_key(self) -> Path:
        """The default customer's key."""
        return self.data / "secrets" / "api_key"

    @property
    def operator_token(self) -> Path:
        """Lets its holder change the grid through the control plane."""
        return self.data / "secrets" / "operator_token"

    @property
    def grid_token(self) -> Path:
        """Known to the grid's own processes only."""
        return self.data / "secrets" / "grid_token"

    @property
    def authority(self) -> Path:
        """Key and certificate of the grid's certificate authority."""
        return self.data / "secrets" / "authority"

    @property
    def fabric_authority(self) -> Path:
        """The secret out of which the keys of a NATS server's operator and accounts are made."""
        return self.data / "secrets" / "fabric"

    def identity(self, process: str) -> Path:
        """Key and certificate of one of this machine's processes."""
        return self.data / "secrets" / f"identity-{process}"

    def site(self, name: str) -> Path:
        """What one site keeps: its packages."""
        return self.data / "sites" / name

    def counters(self, site: str, cell: str) -> Path:
        """The radio front-end's counters, shared by memory map."""
        return self.run / f"radio-{site}-{cell}.counters"

    def log(self, process: str) -> Path:
        """The log of one process."""
        return self.logs / f"{process}.log"

    def make(self) -> None:
        """Create the folders and, on first use, the secrets.

        Raises:
            StorageError: the data directory cannot be written.
        """
        try:
            for folder in (self.run, self.logs, self.records, self.api_key.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self.api_key.parent.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"data directory {self.data} cannot be used: {error.strerror}",
                next_step="give a writable one with --data DIR",
            ) from error
        for path, prefix in (
            (self.api_key, "sk-aigrid-"),
            (self.operator_token, "op-"),
            (self.grid_token, "grid-"),
        ):
            if not path.exists():
                write_aside(path, (prefix + secrets.token_urlsafe(32) + "\n").encode(), mode=0o600)


def cache_home(data: Path) -> Path:
    """Where what can be made again is kept for every grid of this user: compiled kernels.

    A service's user may have no home that it can write: then it is the data directory.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path.home() / ".cache"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        return data / "cache"
    return home if os.access(home, os.W_OK) else data / "cache"


def next_file(folder: Path, name: str, kept: int) -> Path:
    """Path of a new file `NAME-<milliseconds>.jsonl`; with it the newest `kept` of that name stay.

    Raises:
        OSError: an old one cannot be removed.
    """
    old = sorted(folder.glob(f"{name}-*.jsonl"))
    for path in old[: max(0, len(old) - kept + 1)]:
        path.unlink()
    return folder / f"{name}-{time.time_ns() // 1_000_000}.jsonl"


def read_secret(path: Path) -> str:
    """The content of a secret file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return path.read_text().strip()
    except OSError as error:
        raise StorageError(
            f"secret {path} cannot be read: {error.strerror}", next_step="start the grid once"
        ) from error


def write_aside(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old or the new content, never a part.

    Raises:
        StorageError: the disk is full or the folder cannot be written; the old file stays.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", next_step="free space or permissions"
        ) from error


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """`write_aside` for a JSON value."""
    write_aside(path, json.dumps(value, indent=1).encode() + b"\n", mode)


def restarts(paths: GridPaths) -> dict[str, int]:
    """How often the supervisor restarted each process, from its status file."""
    try:
        counts: dict[str, int] = json.loads((paths.run / "restarts.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return counts
