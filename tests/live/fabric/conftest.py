"""A real nats-server with JetStream on loopback."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class NatsProcess:
    """Can be killed and started again on the same port and files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        listen = ["-a", "127.0.0.1", "-p", str(self.port)]
        self.arguments = ["-js", *listen, "-sd", str(folder / "js")]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["nats-server", *self.arguments], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError((self.folder / "log").read_text())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsProcess]:
    if shutil.which("nats-server") is None:
        pytest.skip("nats-server is not installed (Debian: apt-get install nats-server)")
    (tmp_path / "nats").mkdir()
    process = NatsProcess(tmp_path / "nats")
    process.start()
    yield process
    process.kill()
