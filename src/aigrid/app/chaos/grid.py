"""A grid of its own for chaos: in a temporary folder, on loopback, gone when it is closed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aigrid.app.chaos.clocks import Clocks
from aigrid.app.chaos.disk import SmallDisk
from aigrid.app.chaos.postgres import PostgresServer
from aigrid.app.chaos.proxy import Proxy
from aigrid.app.fabric import configure
from aigrid.core.errors import AigridError, UnavailableError
from aigrid.core.site import Site
from aigrid.live.client import ControlClient
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.live.wide import membership
from aigrid.live.wide.invitations import Invitation
from aigrid.store.store import Store

READY_S = 90.0
REMOTE = "tower-9"
HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        port: int = bound.getsockname()[1]
        return port


@dataclass(slots=True)
class ChaosGrid:
    """A factory, a hub, a tower, and a tower behind two proxies; control traffic over NATS if any.

    Attributes:
        folder: of everything; not removed here.
        package: a package folder's store, copied.
        fabric: run a nats-server and use it.
        uses: what faults need beside: `postgres`, `clocks`, `disk`.
        delivered_tokens: that clients got, since the start.
        troubles: what a fault saw that must not be.
    """

    folder: Path
    package: Path
    fabric: bool
    uses: frozenset[str] = frozenset()
    delivered_tokens: int = 0
    troubles: list[str] = field(default_factory=list)
    postgres: PostgresServer | None = None
    clocks: Clocks | None = None
    disk: SmallDisk | None = None
    supervisor: Supervisor = field(init=False)
    client: ControlClient = field(init=False)
    model: str = ""
    data_proxy: Proxy = field(init=False)
    door_proxy: Proxy = field(init=False)
    proxies: tuple[Proxy, ...] = ()
    nats: subprocess.Popen[bytes] | None = None
    remote: subprocess.Popen[bytes] | None = None
    joined: membership.Membership | None = None
    _nats_port: int = 0
    _watching: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    async def start(self) -> None:
        """Have every site serve the package.

        Raises:
            UnavailableError: it does not come up.
        """
        if "disk" in self.uses:
            self.disk = SmallDisk.mount(self.folder / "data")
        url = self._configure_nats() if self.fabric else ""
        if self.fabric:
            await asyncio.to_thread(self.start_nats)
        if "postgres" in self.uses:
            self.postgres = PostgresServer(self.folder / "postgres")
            await asyncio.to_thread(self.postgres.make)
            await asyncio.to_thread(self.postgres.start)
        if "clocks" in self.uses:
            self.clocks = Clocks(self.folder / "clocks")
        settings = GridSettings(
            data=self.folder / "data",
            port=free_port(),
            sites="1,1,1",
            protection="off",
            advertise=HOST,
            door_port=free_port(),
            fabric=url,
            database=SecretStr(self.postgres.url() if self.postgres else ""),
        )
        settings.paths.make()
        self.supervisor = Supervisor(settings, self._environment)
        self.client = ControlClient(settings.data)
        await asyncio.to_thread(self._publish, settings)
        await asyncio.to_thread(self.power_on)
        await self._join_remote()
        await self.until_served()

    def _environment(self, process: str) -> dict[str, str]:
        return self.clocks.environment(process) if self.clocks is not None else {}

    def _publish(self, settings: GridSettings) -> None:
        store = Store(settings.paths.store)
        self.model = store.publish(self.package, "chaos", time.time()).name

    def _configure_nats(self) -> str:
        self._nats_port = free_port()
        folder, port = self.folder / "nats", self._nats_port
        return configure(self.folder / "data", folder, HOST, port, folder / "kept")

    def start_nats(self) -> None:
        """Start the NATS server, on the files that it had.

        Raises:
            UnavailableError: it does not come up.
        """
        command = ["nats-server", "-c", str(self.folder / "nats" / "nats.conf")]
        with (self.folder / "nats.log").open("ab") as log:
            self.nats = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            with suppress(OSError):
                socket.create_connection((HOST, self._nats_port), 0.2).close()
                return
            time.sleep(0.05)
        raise UnavailableError("nats-server does not come up", next_step="see nats.log")

    def power_on(self) -> None:
        """Start every process of the supervisor's, and watch them."""
        self.supervisor.start()
        self._stop.clear()
        self._watching = threading.Thread(
            target=self.supervisor.run, args=(self._stop,), daemon=True
        )
        self._watching.start()
        if not self.client.status()["services"]:
            self.client.deploy(self.model)

    def power_off(self) -> None:
        """Kill every process at once, as a power cut does."""
        self._stop.set()
        if self._watching is not None:
            self._watching.join(5)
        alive = [c.process for c in self.supervisor.children.values() if c.process is not None]
        alive += [p for p in (self.remote, self.nats) if p is not None]
        for process in alive:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in alive:
            process.wait()
        for child in self.supervisor.children.values():
            child.process = None
        if self.postgres is not None:
            self.postgres.kill()

    async def _join_remote(self) -> None:
        listen_port = free_port()
        self.data_proxy = Proxy(listen_port)
        self.door_proxy = Proxy(self.supervisor.door_port)
        self.proxies = (self.data_proxy, self.door_proxy)
        await self.data_proxy.start()
        await self.door_proxy.start()
        token = Invitation.read(self.client.invite(REMOTE, 60.0)["token"])
        through = Invitation(
            f"https://{HOST}:{self.door_proxy.port}", token.authority, token.site, token.secret
        )
        site = Site(REMOTE, "tower", "local", parent="hub-1", compute_cores=2.0, memory_mb=1024)
        self.joined = await asyncio.to_thread(
            membership.join,
            through.token(),
            self.folder / "remote",
            site,
            HOST,
            self.data_proxy.port,
            listen_port,
        )
        self.start_remote()

    def start_remote(self) -> None:
        """Run the site that joined."""
        with (self.folder / "remote.log").open("ab") as log:
            command = [
                sys.executable,
                "-m",
                "aigrid.cli.main",
                "--data",
                str(self.folder / "remote"),
            ]
            self.remote = subprocess.Popen(
                [*command, "site", "run"],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment(REMOTE)},
            )

    def start_outside(self) -> None:
        """Start what is not the supervisor's after a power cut: NATS and PostgreSQL."""
        if self.fabric:
            self.start_nats()
        if self.postgres is not None:
            self.postgres.start()

    def processes(self) -> dict[str, int]:
        """Process ids of everything that serves, by name."""
        alive = {
            name: child.process.pid
            for name, child in list(self.supervisor.children.items())
            if child.process is not None and not name.startswith("radio-")
        }
        return alive | ({REMOTE: self.remote.pid} if self.remote is not None else {})

    def site_names(self) -> list[str]:
        """Names of the sites, sorted."""
        return sorted(set(self.processes()) - {"control", "gateway"})

    async def status(self) -> dict[str, Any]:
        """What the control plane says; empty while it does not."""
        with suppress(AigridError, OSError):
            return await asyncio.to_thread(self.client.status)
        return {}

    async def until_served(self) -> float:
        """Wait until every site serves; how long it took.

        Raises:
            UnavailableError: not within `READY_S`.
        """
        began_s, status = time.monotonic(), {}
        while time.monotonic() < began_s + READY_S:
            status = await self.status()
            services = status.get("services") or []
            if services and services[0]["ready_sites"] == len(self.site_names()):
                return time.monotonic() - began_s
            await asyncio.sleep(0.1)
        raise UnavailableError(f"not every site serves after {READY_S:g} s: {status}")

    async def resumed(self) -> int:
        """Answers that were continued elsewhere, since the gateway's start."""
        await asyncio.sleep(1.5)  # the gateway tells once a second
        return int((await self.status()).get("gateway", {}).get("resumed_total", 0))

    async def close(self) -> None:
        """End every process that was started here."""
        await asyncio.to_thread(self.power_off)
        for proxy in self.proxies:
            await proxy.stop()
        if self.disk is not None:
            await asyncio.to_thread(self.disk.unmount)


def has_nats() -> bool:
    """Whether a NATS server is installed."""
    return shutil.which("nats-server") is not None


def send(pid: int, number: int) -> None:
    """Send a signal to a process of ours that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
