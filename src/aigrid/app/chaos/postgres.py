"""A PostgreSQL server of its own on loopback, from the binaries that are installed."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.core.errors import UnavailableError

HOST = "127.0.0.1"
START_S = 30.0
INSTALLED = "/usr/lib/postgresql"  # Debian's; elsewhere they are on the path
MISSING = "PostgreSQL is not installed (Debian: apt-get install postgresql)"


@dataclass(slots=True)
class PostgresServer:
    """One cluster; can be killed and started again on the same port and files.

    Attributes:
        folder: of the cluster and its log.
        durable: whether commits outlive a power cut too.
    """

    folder: Path
    durable: bool = True
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    process: subprocess.Popen[bytes] | None = None

    def url(self, name: str = "postgres") -> str:
        """Of one of its databases."""
        return f"postgresql://aigrid:{self.password}@{HOST}:{self.port}/{name}"

    def make(self) -> None:
        """Make the cluster. PostgreSQL refuses root: then it runs as another user."""
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self.folder / "password"
        said.write_text(self.password)
        who = _other_user()
        if who:
            shutil.chown(self.folder, who["user"], who["group"])
            shutil.chown(said, who["user"], who["group"])
            for parent in self.folder.parents[:-2]:
                parent.chmod(parent.stat().st_mode | 0o011)
        command = [_binary("initdb"), "-D", str(self.folder / "data"), "-U", "aigrid"]
        command += ["-A", "scram-sha-256", f"--pwfile={said}", "-E", "UTF8", "--no-sync"]
        subprocess.run([*command, "--locale=C.UTF-8"], check=True, capture_output=True, **who)
        with socket.socket() as bound:
            bound.bind((HOST, 0))
            self.port = bound.getsockname()[1]

    def start(self) -> None:
        """Start it, and come back when it answers.

        Raises:
            UnavailableError: it does not come up.
        """
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self.process is None or self.process.poll() is not None:
                self._spawn()  # while the last one's children end, it gives up at once
            with suppress(OSError):
                socket.create_connection((HOST, self.port), 0.2).close()
                if self._ready():
                    return
            time.sleep(0.05)
        raise UnavailableError(
            "PostgreSQL does not come up", next_step=f"see {self.folder / 'log'}"
        )

    def _spawn(self) -> None:
        options = [f"listen_addresses={HOST}", f"port={self.port}", "unix_socket_directories="]
        options += ["max_connections=40", "shared_buffers=16MB"]
        options += [] if self.durable else ["fsync=off"]
        command = [_binary("postgres"), "-D", str(self.folder / "data")]
        for option in options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **_other_user())

    def _ready(self) -> bool:
        asked = [_binary("pg_isready"), "-h", HOST, "-p", str(self.port), "-q"]
        return subprocess.run(asked, check=False).returncode == 0

    def create(self, name: str) -> str:
        """A new, empty database; its URL."""
        asked = [_binary("createdb"), "-h", HOST, "-p", str(self.port), "-U", "aigrid", name]
        environment = {**os.environ, "PGPASSWORD": self.password}
        subprocess.run(asked, check=True, capture_output=True, env=environment)
        return self.url(name)

    def kill(self) -> None:
        """Kill -9; its children see it and end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def missing() -> str:
    """Why no server can be started here; empty where one can."""
    if not shutil.which("initdb") and not _installed("initdb"):
        return MISSING
    return "" if os.geteuid() or _other_user() else "PostgreSQL needs a user besides root"


def _installed(name: str) -> str:
    found = sorted(Path(INSTALLED).glob(f"*/bin/{name}"), key=lambda path: path.parts[-3])
    return str(found[-1]) if found else ""


def _binary(name: str) -> str:
    return _installed(name) or name


def _other_user() -> dict[str, Any]:
    """Arguments of subprocess for whoever may run a server; none where we may ourselves."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": name, "group": found.pw_gid, "extra_groups": []}
    return {}
