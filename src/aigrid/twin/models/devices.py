"""A sheet of known parts: peaks and prices as facts, efficiencies as one set for all accelerators.

Peaks are the makers' dense figures for 8-bit floating point, without sparsity. The efficiencies are
not those of a part or a model: one set, which `calibration` compares with published throughput.
Prices are street prices of 2025 rounded to one digit or two, for the part with its share of a
server; they move by a third within a year.
"""

from __future__ import annotations

from dataclasses import replace

from aigrid.core.errors import NotFoundError
from aigrid.twin.models.device import Device

# Least squares of log throughput over the 20 H100 rows of `calibration`, on a grid; no other row
# was used, and no part or model has its own.
PREFILL_EFFICIENCY = 0.6
DECODE_EFFICIENCY = 0.7
STEP_OVERHEAD_MS = 1.0
# From local NVMe to memory; a part of what one PCIe 4.0 drive reads (7 GB/s).
LOAD_BYTES_PER_S = 4e9


def _accelerator(
    name: str,
    tflop: float,
    gb_per_s: float,
    memory_gb: float,
    watts: tuple[float, float],
    usd: float,
    source: str,
    preemption_ms: float | None = 0.1,
) -> Device:
    return Device(
        name=name,
        flop_per_s=tflop * 1e12,
        memory_bytes_per_s=gb_per_s * 1e9,
        memory_gb=memory_gb,
        load_bytes_per_s=LOAD_BYTES_PER_S,
        prefill_efficiency=PREFILL_EFFICIENCY,
        decode_efficiency=DECODE_EFFICIENCY,
        step_overhead_ms=STEP_OVERHEAD_MS,
        preemption_ms=preemption_ms,
        idle_w=watts[0],
        peak_w=watts[1],
        capital_usd=usd,
        source=source,
    )


_SHEET = (
    _accelerator("l4", 242, 300, 24, (30, 110), 4_000, "NVIDIA L4 datasheet, 2023"),
    _accelerator("l40s", 733, 864, 48, (80, 450), 13_000, "NVIDIA L40S datasheet, 2023"),
    _accelerator(
        "rtx-pro-6000", 1000, 1597, 96, (90, 700), 13_000,
        "NVIDIA RTX PRO 6000 Blackwell Server Edition datasheet, 2025 (a quarter of the sparse "
        "4 PFLOP/s at 4 bits)",
    ),
    _accelerator("h100", 1979, 3350, 80, (150, 1000), 35_000, "NVIDIA H100 SXM datasheet, 2023"),
    _accelerator("h200", 1979, 4800, 141, (150, 1000), 40_000, "NVIDIA H200 SXM datasheet, 2024"),
    _accelerator(
        "gh200", 1979, 4000, 96, (200, 1000), 45_000, "NVIDIA GH200 datasheet, 2023 (96 GB HBM3)"
    ),
    _accelerator("b200", 4500, 8000, 180, (250, 1400), 55_000, "NVIDIA HGX B200 datasheet, 2024"),
)  # fmt: skip

# One core of a small server: 55 GFLOP/s of matrix products in fp32 were measured on two cores of an
# AVX2 processor (decision 0011); 10 GB/s is what one core reads of DDR4.
_CORE = Device(
    name="cpu-core",
    flop_per_s=100e9,
    memory_bytes_per_s=10e9,
    memory_gb=4.0,
    load_bytes_per_s=0.5e9,
    prefill_efficiency=0.3,
    decode_efficiency=0.6,
    step_overhead_ms=1.0,
    preemption_ms=None,
    idle_w=3.0,
    peak_w=10.0,
    capital_usd=100.0,
    source="decision 0011; DDR4-3200",
)
RADIO_ONLY = "radio-only"
SHEET: dict[str, Device] = {device.name: device for device in (*_SHEET, _CORE)}


def known(name: str) -> Device:
    """A part of the sheet.

    Raises:
        NotFoundError: it is not there.
    """
    if name not in SHEET:
        raise NotFoundError(
            f"device {name!r} is not on the sheet",
            next_step=f"use one of {', '.join(SHEET)}, or write its figures into the scenario",
        )
    return SHEET[name]


def radio_only(device: Device, usd: float) -> Device:
    """The device as a computer that does the radio alone, and has no memory for a model."""
    return replace(
        device,
        name=RADIO_ONLY,
        memory_gb=0.0,
        capital_usd=usd,
        source="money.radio_only_tower_usd",
    )


def at_bits(device: Device, bits: int) -> Device:
    """The device at another precision: twice the bits, half the FLOP."""
    return replace(device, flop_per_s=device.flop_per_s * 8.0 / bits)
