"""What can go wrong, each as one coroutine that breaks something and mends it again."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aigrid.app.chaos import postgres
from aigrid.app.chaos.clocks import MISSING, SEEN_S, library
from aigrid.app.chaos.grid import REMOTE, ChaosGrid, has_nats, send
from aigrid.core.errors import AigridError
from aigrid.core.tenancy import DEFAULT_TENANT

HELD_S = 4.0
SLICE_S = 0.05
SLOWED = 10
BACK_S = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: for people.
        strike: breaks and mends.
        gateway_dies: clients may see their connection break, and ask again.
        rounds: how often every question is asked at least.
        at_once: of the questions, as a multiple of the usual number.
        needs: why it cannot run here; empty where it can.
        uses: what its grid needs beside, see `grid.ChaosGrid.uses`.
    """

    name: str
    strike: Callable[[ChaosGrid, np.random.Generator], Awaitable[None]]
    gateway_dies: bool = False
    rounds: int = 2
    at_once: int = 1
    needs: str = ""
    uses: str = ""


async def kill_site(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of one site, then of another."""
    for site in rng.permutation(_children(grid))[:2]:
        send(grid.processes().get(str(site), 0), signal.SIGKILL)
        await asyncio.sleep(float(rng.uniform(0.3, 1.0)))


async def kill_gateway(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of the gateway."""
    send(grid.processes()["gateway"], signal.SIGKILL)
    await asyncio.sleep(0)


async def kill_control(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of the control plane, then of a site while it is away."""
    send(grid.processes()["control"], signal.SIGKILL)
    site = str(rng.choice(_children(grid)))
    send(grid.processes().get(site, 0), signal.SIGKILL)
    await asyncio.sleep(0)


async def kill_fabric(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of the NATS server, and of a site while it is away."""
    assert grid.nats is not None
    grid.nats.kill()
    grid.nats.wait()
    site = str(rng.choice(_children(grid)))
    send(grid.processes().get(site, 0), signal.SIGKILL)
    await asyncio.sleep(HELD_S / 2)
    await asyncio.to_thread(grid.start_nats)


async def kill_database(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of PostgreSQL, and of a site while it is away; changes are refused until it is back.

    Routes change all the same, and what was refused is not there half.
    """
    assert grid.postgres is not None
    grid.postgres.kill()
    site = str(rng.choice(_children(grid)))
    send(grid.processes().get(site, 0), signal.SIGKILL)
    name = f"tenant-{int(rng.integers(1 << 30))}"
    said = await asyncio.to_thread(_change, grid, name)
    if said != "unavailable":
        grid.troubles.append(f"a change without a database was answered with {said!r}")
    await asyncio.sleep(HELD_S)
    await asyncio.to_thread(grid.postgres.start)
    deadline_s = asyncio.get_running_loop().time() + BACK_S
    while (said := await asyncio.to_thread(_change, grid, name)) == "unavailable":
        if asyncio.get_running_loop().time() > deadline_s:
            break
        await asyncio.sleep(0.25)
    if said:
        grid.troubles.append(f"a change with the database back was answered with {said!r}")


def _change(grid: ChaosGrid, tenant: str) -> str:
    """Make a tenant; the code of the error, or nothing."""
    try:
        grid.client.call("POST", "/control/v1/tenants", {"name": tenant})
    except AigridError as error:
        return error.code
    return ""


async def jump_clocks(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Wall clocks jump by hours, both ways: control plane and a site, gateway and another site."""
    assert grid.clocks is not None
    hours = float(rng.uniform(3.0, 9.0))
    for process, site in (("control", str(rng.choice(_children(grid)))), ("gateway", REMOTE)):
        for by_s in (hours * 3600.0, -hours * 3600.0):
            for name in (process, site):
                grid.clocks.move(name, by_s)
            await asyncio.sleep(SEEN_S + HELD_S / 2)
            off_s = await asyncio.to_thread(_control_off_s, grid)
            wanted_s = by_s if process == "control" else 0.0
            if abs(off_s - wanted_s) > 60.0:
                grid.troubles.append(f"{process}: the clock is off by {off_s:g}, not {wanted_s:g}")
        for name in (process, site):
            grid.clocks.move(name, 0.0)
        await asyncio.sleep(SEEN_S)


def _control_off_s(grid: ChaosGrid) -> float:
    """How far the control plane's clock is off, by what it writes down."""
    key = grid.client.call("POST", "/control/v1/keys", {"tenant": DEFAULT_TENANT})
    return float(key["created_at_s"]) - time.time()


async def hang_site(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """SIGSTOP: a process that takes connections and says nothing."""
    pid = grid.processes()[str(rng.choice(grid.site_names()))]
    send(pid, signal.SIGSTOP)
    await asyncio.sleep(HELD_S)
    send(pid, signal.SIGCONT)


async def slow_site(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """A site that has a tenth of its time."""
    pid = grid.processes()[str(rng.choice(grid.site_names()))]
    for _ in range(int(HELD_S / SLICE_S / SLOWED)):
        send(pid, signal.SIGSTOP)
        await asyncio.sleep(SLICE_S * (SLOWED - 1))
        send(pid, signal.SIGCONT)
        await asyncio.sleep(SLICE_S)


async def cut_off(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """A site that the network carries nothing to or from, and that comes back."""
    for proxy in (grid.data_proxy, grid.door_proxy):
        proxy.whole.clear()
    await asyncio.sleep(HELD_S)
    for proxy in (grid.data_proxy, grid.door_proxy):
        proxy.whole.set()


async def fill_disk(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Not one byte more fits on the disk of control plane, gateway and sites.

    Where root may not mount a small one, no file of theirs can grow, which comes to the same.
    """
    if grid.disk is not None:
        await asyncio.to_thread(grid.disk.fill)
        await asyncio.sleep(HELD_S)
        grid.disk.empty()
        return
    full = [pid for pid in grid.processes().values() if _limit(pid, 1)]
    await asyncio.sleep(HELD_S)
    for pid in full:
        _limit(pid, resource.RLIM_INFINITY)


async def spoil_package(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """A byte of a site's package changes on disk, and the site starts anew."""
    site = str(rng.choice(_children(grid)))
    folder = grid.supervisor.settings.paths.site(site)
    weights = max(
        (p for p in folder.rglob("*") if p.is_file()), key=lambda path: path.stat().st_size
    )
    flip_a_byte(weights, rng)
    send(grid.processes().get(site, 0), signal.SIGKILL)
    await asyncio.sleep(0)


async def drain(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """An operator drains a site in mid-work, and lets it go again."""
    site = str(rng.choice(grid.site_names()))
    await asyncio.to_thread(grid.client.hold, site, "draining")
    await asyncio.sleep(HELD_S)
    await asyncio.to_thread(grid.client.hold, site, "free")


async def churn(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Sites die, hang and are cut off one after the other, but never all at once."""
    for _ in range(8):
        site = str(rng.choice(grid.site_names()))
        pid = grid.processes().get(site, 0)
        if site == REMOTE:
            await cut_off(grid, rng)
        elif pid and rng.random() < 0.5:
            send(pid, signal.SIGKILL)
        elif pid:
            send(pid, signal.SIGSTOP)
            await asyncio.sleep(HELD_S / 2)
            send(pid, signal.SIGCONT)
        await asyncio.sleep(float(rng.uniform(0.5, 1.5)))


async def overload(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Nothing breaks: there is only five times as much to do, all at once."""
    await asyncio.sleep(0)


async def cut_power(grid: ChaosGrid, rng: np.random.Generator) -> None:
    """Kill -9 of everything at once, and a start from what the disk holds."""
    await asyncio.to_thread(grid.power_off)
    await asyncio.to_thread(grid.start_outside)
    await asyncio.to_thread(grid.power_on)
    grid.start_remote()


def flip_a_byte(path: Path, rng: np.random.Generator) -> None:
    """Change one byte of a file, whatever its mode says."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(int(rng.integers(path.stat().st_size)))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))
    path.chmod(mode)


def _limit(pid: int, size_bytes: int) -> bool:
    """Bound the size of every file that a process writes; False where it is gone."""
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _children(grid: ChaosGrid) -> list[str]:
    """The sites that the supervisor starts again when they die."""
    return [name for name in grid.site_names() if name != REMOTE]


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill-site", kill_site),
        Fault("hang-site", hang_site),
        Fault("slow-site", slow_site),
        Fault("cut-off", cut_off),
        Fault("kill-control", kill_control),
        Fault(
            "kill-fabric",
            kill_fabric,
            needs="" if has_nats() else "nats-server is not installed",
        ),
        Fault("kill-database", kill_database, needs=postgres.missing(), uses="postgres"),
        Fault("clock-jump", jump_clocks, needs="" if library() else MISSING, uses="clocks"),
        Fault("kill-gateway", kill_gateway, gateway_dies=True),
        Fault("disk-full", fill_disk, uses="disk"),
        Fault("drain", drain),
        Fault("spoiled-package", spoil_package),
        Fault("overload", overload, at_once=5),
        Fault("churn", churn, rounds=24),
        Fault("power-cut", cut_power, gateway_dies=True),
    )
}
SUITES: dict[str, tuple[str, ...]] = {
    "small": ("kill-site", "hang-site", "kill-control"),
    "sites": ("kill-site", "hang-site", "slow-site", "cut-off", "spoiled-package", "drain"),
    "all": tuple(FAULTS),
}
