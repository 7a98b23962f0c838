"""What this machine can do, and what of it a run depends on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aigrid.core.errors import ConfigurationError

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
CPU_INFO = Path("/proc/cpuinfo")


def cpu_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Features of the first processor; empty where the system does not tell."""
    return frozenset(_cpu_field(("flags", "Features"), cpu_info).split())


def cpu_model(cpu_info: Path = CPU_INFO) -> str:
    """The processor's name."""
    return _cpu_field(("model name",), cpu_info) or platform.processor() or platform.machine()


def _cpu_field(names: tuple[str, ...], cpu_info: Path) -> str:
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""


def resolve_precision(wanted: str, flags: frozenset[str] | None = None) -> str:
    """`fp32` or `bf16`.

    Raises:
        ConfigurationError: bf16 is asked for, and the processor would only imitate it, slowly.
    """
    hardware = bool(BF16_FLAGS & (cpu_flags() if flags is None else flags))
    if wanted == "auto":
        return "bf16" if hardware else "fp32"
    if wanted == "bf16" and not hardware:
        raise ConfigurationError(
            f"training.precision is bf16, and {cpu_model()} has no bf16 in hardware",
            next_step="use precision: auto or fp32",
        )
    return wanted


def wait_without_spinning() -> None:
    """Let torch's threads sleep, not spin, while they wait for each other.

    On two cores with neighbours a thread that spins takes the core its partner needs: training
    then fell to a quarter and less of the speed. OpenMP reads this once, when torch is loaded; a
    process that has torch already, or has chosen a policy, stays as it is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def repeatable(seed: int, threads: int) -> Iterator[None]:
    """Torch with fixed seed, threads and deterministic kernels; as it was before, afterwards."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])


def describe_machine() -> dict[str, str | int]:
    """Facts of this machine for the run record."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
