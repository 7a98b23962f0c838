"""The supervisor: starts every process of a grid, watches them, restarts what dies, stops all."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.core.codec import to_plain
from aigrid.core.errors import AigridError, UnavailableError
from aigrid.live import logs, run_log, server
from aigrid.live.client import ControlClient
from aigrid.live.fabric import Fabric, check
from aigrid.live.machine_log import MachineLog
from aigrid.live.paths import cache_home, read_secret, write_json
from aigrid.live.settings import GridSettings
from aigrid.radio.profile import DailyLoad
from aigrid.radio.topology import PlannedSite
from aigrid.store.references import is_loopback
from aigrid.store.store import Store

STOP_S = 3.5
WATCH_S = 0.1
START_TIMEOUT_S = 240.0  # the first start compiles kernels: over a minute on busy cores
RESTART_PAUSE_S = 0.2
RESTART_PAUSE_MAX_S = 10.0
STEADY_S = 10.0
RADIO = "radio-"  # how the names of front-ends begin
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Child:
    """A process that shall run."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    restarts: int = 0
    quick_deaths: int = 0
    due_s: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs a grid on this machine.

    Attributes:
        settings: what to run.
        environment: what a process gets beside this one's, by its name.
    """

    settings: GridSettings
    environment: Callable[[str], Mapping[str, str]] = lambda _: {}
    children: dict[str, Child] = field(default_factory=dict)
    control_port: int = 0
    port: int = 0
    door_port: int = 0
    machine_log: MachineLog | None = None

    @property
    def base_url(self) -> str:
        """Where OpenAI clients point."""
        return f"http://{self.settings.host}:{self.port}/v1"

    @property
    def control_url(self) -> str:
        """Where the control plane answers."""
        return f"http://{self.settings.host}:{self.control_port}"

    def check_port(self) -> None:
        """See that the gateway's port is free, before anything slow happens.

        Raises:
            ConflictError: another process has it.
        """
        server.listen(self.settings.host, self.settings.port).close()

    def start(self) -> None:
        """Start every process and return when control plane and gateway answer.

        Raises:
            ConflictError: the port is taken, or the recording's folder holds a run.
            ConfigurationError: the topology cannot be used.
            StorageError: the recording's folder cannot be written.
            UnavailableError: a process does not come up; its log says why.
        """
        planned = self.settings.planned_sites()
        self._check_fabric()
        self._check_records()
        self.port = _free_port(self.settings.host, self.settings.port)
        self.control_port = _free_port(self.settings.host, 0)
        paths = self.settings.paths
        paths.make()
        for stale in paths.run.glob("*"):
            stale.unlink()
        if self.settings.record is not None:
            run_log.begin(self.settings.record, self.settings.commit, planned)
        self._plan(planned)
        try:
            for child in self.children.values():
                self._spawn(child)
            if self.settings.record is not None:
                self.machine_log = MachineLog(self.settings.record, self._pids)
            self._announce()
            self._await_answers()
        except BaseException:
            self.stop()
            raise

    def _check_fabric(self) -> None:
        """See that NATS lets this grid in and, where others come, nobody else."""
        if self.settings.fabric:
            self.settings.paths.make()
            way = Fabric.of(self.settings.paths, self.settings.fabric, "control", "control")
            host = self.settings.advertise
            check(way, shared=bool(host) and not is_loopback(host))

    def _fabric(self, role: str, name: str) -> dict[str, Any]:
        return Fabric.of(self.settings.paths, self.settings.fabric, role, name).to_plain()

    def _check_records(self) -> None:
        """See that the database lets us in, before anything slow happens."""
        if self._database or self.settings.paths.database_json.exists():
            from aigrid.live import records  # SQLAlchemy is slow to import

            self.settings.paths.make()
            records.open_records(self.settings.paths, self._database).close()

    @property
    def _database(self) -> str:
        return self.settings.database.get_secret_value()

    def _plan(self, planned: tuple[PlannedSite, ...]) -> None:
        record = self.settings.record
        common = {"data": str(self.settings.data), "host": self.settings.host}
        common |= {"record": str(record.absolute())} if record else {}
        telemetry = {"telemetry": to_plain(self.settings.telemetry)}
        wide = self._plan_door() if self.settings.advertise else {}
        self._add(
            "control",
            wide
            | common
            | {
                "fabric": self._fabric("control", "control"),
                "port": self.control_port,
                "commit": self.settings.commit,
                "database": self._database,
            },
        )
        grid_token = read_secret(self.settings.paths.grid_token)
        key = read_secret(self.settings.paths.api_key)
        limits = to_plain(self.settings.limits)
        gateway = {
            "data": str(self.settings.data),
            "limits": limits,
            "host": self.settings.host,
            "port": self.port,
            "control_url": self.control_url,
            "grid_token": grid_token,
            "key_digests": [hashlib.sha256(key.encode()).hexdigest()],
            "record": common.get("record", ""),
            "fabric": self._fabric("gateway", "gateway"),
            "wide": bool(wide),
        }
        self._add("gateway", gateway | telemetry)
        trusted = [str(path) for path in Store(self.settings.paths.store).trusted_keys]
        for plan in planned:
            site = (
                common
                | telemetry
                | {
                    "limits": limits,
                    "fabric": self._fabric("site", plan.site.name),
                    "control_url": self.control_url,
                    "site": to_plain(plan.site),
                    "yields": self.settings.protection != "off",
                    "trusted_keys": trusted,
                }
            )
            self._add(plan.site.name, site, role="site")
            self._plan_radios(plan)

    def _plan_door(self) -> dict[str, Any]:
        """Certificates for the processes that other machines talk with."""
        from aigrid.live.wide.certificates import Authority

        host, paths = self.settings.advertise, self.settings.paths
        authority = Authority(paths.authority)
        authority.identity(paths.identity("control"), "control", "control", [host])
        authority.identity(paths.identity("gateway"), "gateway", "gateway", [host])
        self.door_port = _free_port(host, self.settings.door_port)
        return {"advertise": host, "door_port": self.door_port}

    def _plan_radios(self, plan: PlannedSite) -> None:
        paths = self.settings.paths
        for number, cell in enumerate(plan.site.cells):
            name = f"{RADIO}{plan.site.name}-{cell.name}"
            config = {
                "site": plan.site.name,
                "cell": to_plain(cell),
                "counters": str(paths.counters(plan.site.name, cell.name)),
                "profile": (plan.profile or DailyLoad(kind="daily")).model_dump(mode="json"),
                "cache_dir": str(cache_home(self.settings.data) / "aigrid" / "kernels"),
                "cell_id": number,
                "seed": number,
                "protection": self.settings.protection,
            }
            write_json(self._config(name), config, mode=0o600)
            module = [sys.executable, "-m", "aigrid.radio.frontend"]
            self._child(
                name, [*module, "--config", str(self._config(name)), "--parent", _pid(), "--json"]
            )

    def _add(self, name: str, config: dict[str, Any], role: str = "") -> None:
        own = {
            "parent": os.getpid(),
            "log": str(self.settings.paths.log(name)),
            "log_level": self.settings.log_level,
        }
        write_json(self._config(name), config | own, mode=0o600)
        module = [sys.executable, "-m", "aigrid.live.process"]
        self._child(name, [*module, role or name, str(self._config(name))])

    def _child(self, name: str, command: list[str]) -> None:
        self.children[name] = Child(name, command, self.settings.paths.log(name))

    def _config(self, name: str) -> Path:
        return self.settings.paths.run / f"{name}.json"

    def _spawn(self, child: Child) -> None:
        """Start a child in a session of its own, so that Ctrl-C reaches the supervisor only."""
        mode = "ab"
        if child.log.exists() and child.log.stat().st_size > logs.FILE_LIMIT_BYTES:
            child.log.replace(child.log.with_suffix(".log.1"))
        with child.log.open(mode) as log:
            child.process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "XDG_CACHE_HOME": str(cache_home(self.settings.data).absolute()),
                    **self.environment(child.name),
                },
            )
        child.started_s = time.monotonic()

    def _announce(self) -> None:
        """Tell other commands where the grid is."""
        grid = {
            "pid": os.getpid(),
            "base_url": self.base_url,
            "control_url": self.control_url,
            "started_at_s": time.time(),
        }
        write_json(self.settings.paths.grid_json, grid, mode=0o600)

    def _await_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        client = ControlClient(self.settings.data)
        for url in (self.control_url, f"http://{self.settings.host}:{self.port}"):
            while not client.answers(f"{url}/v1/health/ready"):
                self._raise_if_dead(("control", "gateway"))
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"{url} does not answer after {START_TIMEOUT_S:.0f} s",
                        next_step=f"see the logs in {self.settings.paths.logs}",
                    )
                time.sleep(0.05)

    def _raise_if_dead(self, names: tuple[str, ...]) -> None:
        for name in names:
            child = self.children[name]
            if child.process is not None and child.process.poll() is not None:
                raise UnavailableError(
                    f"{name} ended at start with code {child.process.returncode}",
                    next_step=f"see {child.log}",
                )

    def _pids(self) -> tuple[list[int], list[int]]:
        """Processes of the grid, this one among them, and of its radios."""
        alive = {c.name: c.process.pid for c in tuple(self.children.values()) if c.process}
        radios = [pid for name, pid in alive.items() if name.startswith(RADIO)]
        return [os.getpid(), *alive.values()], radios

    def run(self, stop: threading.Event) -> None:
        """Watch and restart until `stop` is set. Call from the thread that called `start`."""
        while not stop.wait(WATCH_S):
            self.watch()

    def watch(self) -> None:
        """One look: restart what died, more slowly the more often it dies at once."""
        now_s = time.monotonic()
        for child in self.children.values():
            if child.process is not None and child.process.poll() is not None:
                self._note_death(child, now_s)
            if child.process is None and now_s >= child.due_s:
                self._spawn(child)

    def _note_death(self, child: Child, now_s: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        logger.warning("%s ended with code %s", child.name, code)
        child.process = None
        child.restarts += 1
        child.quick_deaths = child.quick_deaths + 1 if now_s - child.started_s < STEADY_S else 0
        pause_s = RESTART_PAUSE_S * 2.0 ** min(child.quick_deaths, 10)
        child.due_s = now_s + min(pause_s, RESTART_PAUSE_MAX_S)
        counts = {c.name: c.restarts for c in self.children.values() if c.restarts}
        with suppress(AigridError):
            write_json(self.settings.paths.run / "restarts.json", counts)

    def stop(self) -> None:
        """End every process, within 5 s: SIGTERM, then SIGKILL for who does not go."""
        if self.machine_log is not None:
            self.machine_log.close()
        alive = [c.process for c in self.children.values() if c.process is not None]
        for process in alive:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.settings.paths.grid_json.unlink(missing_ok=True)


def _free_port(host: str, port: int) -> int:
    """The port itself when it is free, or any free one for 0.

    Raises:
        ConflictError: it is taken.
    """
    bound: socket.socket = server.listen(host, port)
    chosen: int = bound.getsockname()[1]
    bound.close()
    return chosen


def _pid() -> str:
    return str(os.getpid())
