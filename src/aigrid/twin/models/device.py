"""Computers as data: what a device can do, draws and costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One computer (an accelerator with its share of a server) that sites have some number of.

    Attributes:
        name: unique in a scenario.
        flop_per_s: dense peak at the precision served.
        memory_bytes_per_s: peak memory bandwidth.
        memory_gb: for weights and KV cache.
        load_bytes_per_s: at which weights get from disk or link into memory.
        prefill_efficiency: fraction of `flop_per_s` that prefill reaches (0 to 1).
        decode_efficiency: fraction of `memory_bytes_per_s` that decoding reaches (0 to 1).
        step_overhead_ms: fixed cost of one step of a batch.
        preemption_ms: longest time until AI on it makes way for the radio; `None` where AI and
            radio cannot share it in time, but only in space.
        idle_w: drawn when nothing runs.
        peak_w: drawn flat out.
        capital_usd: price, once.
        source: of these numbers.
    """

    name: str
    flop_per_s: float
    memory_bytes_per_s: float
    memory_gb: float
    load_bytes_per_s: float
    prefill_efficiency: float
    decode_efficiency: float
    step_overhead_ms: float
    preemption_ms: float | None
    idle_w: float
    peak_w: float
    capital_usd: float
    source: str = ""
