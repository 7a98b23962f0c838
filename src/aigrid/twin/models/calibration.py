"""The roofline against published throughput and latency of known models on known parts.

One set of efficiencies (`devices`) was fitted on the H100 rows of the first source; every other row
is a prediction. `comparisons` computes them all, `summary` says how far off they are.

Sources: TensorRT-LLM 1.0 "Performance overview" (github.com/NVIDIA/TensorRT-LLM,
docs/source/performance/perf-overview.md; all requests at once, weights and cache in 8 bits, or
weights in 4); its version 0.6.1 "Performance of TensorRT-LLM" (docs/source/performance.md; batch
sizes as stated, L40S and latencies of 0.5); "NIM LLM benchmarking: performance"
(docs.nvidia.com/nim/benchmarking/llm, container 1.8.0, one request at a time).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aigrid.twin.models import roofline
from aigrid.twin.models.devices import at_bits, known
from aigrid.twin.models.lengths import fixed
from aigrid.twin.models.service import Service

Measure = Literal["tokens/s", "ttft ms", "tpot ms"]
# Weights, cached values a token (2 x layers x heads of keys x width), FLOP a pair of tokens
# (4 x layers x width): from the models' published configurations.
_MODELS = {
    "llama-2-7b": (6.74e9, 2 * 32 * 4096, 4 * 32 * 4096),
    "llama-3.1-8b": (8.03e9, 2 * 32 * 1024, 4 * 32 * 4096),
    "llama-3.3-70b": (70.6e9, 2 * 80 * 1024, 4 * 80 * 8192),
}
# 4-bit weights carry an 8-bit scale for each 16 of them.
_BYTES_A_WEIGHT = {8: 1.0, 4: 0.5625}
_LENGTHS = (
    (128, 128), (128, 2048), (128, 4096), (500, 2000), (1000, 1000),
    (1000, 2000), (2048, 128), (2048, 2048), (5000, 500), (20000, 2000),
)  # fmt: skip
# Device, how many, model, bits of a weight, tokens/s of all devices for each of `_LENGTHS`.
_ALL_AT_ONCE: tuple[tuple[str, int, str, int, tuple[int, ...]], ...] = (
    ("h100", 1, "llama-3.1-8b", 8,
     (28312, 22714, 14325, 17660, 15220, 13899, 3450, 9305, 3459, 1351)),
    ("h100", 2, "llama-3.3-70b", 8,
     (6378, 6651, 4199, 5222, 4205, 4146, 762, 3082, 898, 437)),
    ("h200", 1, "llama-3.1-8b", 8,
     (27911, 26221, 18027, 20770, 17744, 16828, 3538, 12194, 3902, 1804)),
    ("h200", 1, "llama-3.3-70b", 8,
     (3803, 4336, 2872, 3666, 2909, 2994, 442, 2003, 566, 283)),
    ("b200", 1, "llama-3.3-70b", 4,
     (11147, 9922, 6831, 7762, 7007, 6271, 1339, 4783, 1459, 665)),
    ("rtx-pro-6000", 1, "llama-3.3-70b", 4,
     (3264, 2422, 1349, 1856, 1787, 1594, 393, 1074, 401, 142)),
)  # fmt: skip
_FITTED = 2
# Device, model, batch, prompt, answer, tokens/s.
_FIXED_BATCH = (
    ("h100", "llama-2-7b", 768, 128, 128, 19694),
    ("h100", "llama-2-7b", 112, 128, 2048, 6818),
    ("h100", "llama-2-7b", 80, 2048, 128, 2244),
    ("h100", "llama-2-7b", 48, 2048, 2048, 2740),
    ("l40s", "llama-2-7b", 64, 128, 128, 3240),
    ("l40s", "llama-2-7b", 64, 128, 2048, 1622),
    ("l40s", "llama-2-7b", 32, 2048, 128, 581),
    ("l40s", "llama-2-7b", 16, 2048, 2048, 531),
)
# Device, how many, model, prompt, answer, TTFT ms, TPOT ms; 0 where none was published.
_ALONE = (
    ("h100", 2, "llama-3.3-70b", 5000, 500, 406.77, 18.58),
    ("h100", 2, "llama-3.3-70b", 500, 2000, 47.77, 18.91),
    ("h100", 1, "llama-2-7b", 2048, 1, 36.0, 0.0),
    ("l40s", 1, "llama-2-7b", 2048, 1, 73.0, 0.0),
    ("l40s", 1, "llama-2-7b", 128, 1, 14.0, 0.0),
)
_NO_LIMIT_MS = 1e9


@dataclass(frozen=True, slots=True)
class Comparison:
    """One published figure beside ours.

    Attributes:
        device: of the sheet.
        devices: how many shared the weights.
        model: what ran.
        bits: of a weight.
        prompt: tokens.
        generated: tokens.
        measure: what was published.
        published: its value.
        predicted: ours.
        fitted: whether the efficiencies were fitted on it.
    """

    device: str
    devices: int
    model: str
    bits: int
    prompt: int
    generated: int
    measure: Measure
    published: float
    predicted: float
    fitted: bool

    @property
    def error(self) -> float:
        """Predicted over published, less one."""
        return self.predicted / self.published - 1.0


def known_service(model: str, bits: int, prompt: int, generated: int, max_batch: int) -> Service:
    """A model that was measured, as a service without promises; cache in 8 bits."""
    weights, cached, attention = _MODELS[model]
    return bare_service(
        model, weights, _BYTES_A_WEIGHT[bits], cached, attention, prompt, generated, max_batch
    )


def bare_service(
    name: str,
    weights: float,
    bytes_per_weight: float,
    kv_bytes_per_token: float,
    attention_flop: float,
    prompt: int,
    generated: int,
    max_batch: int = 64,
) -> Service:
    """A dense model as a service without promises or prices, all requests of one length."""
    return Service(
        name=name,
        parameters=weights,
        memory_parameters=weights,
        bytes_per_weight=bytes_per_weight,
        kv_bytes_per_token=kv_bytes_per_token,
        prompt_tokens=fixed(prompt),
        generated_tokens=fixed(generated),
        shared_prefix_tokens=0.0,
        residency=0.0,
        ttft_slo_ms=_NO_LIMIT_MS,
        tpot_slo_ms=_NO_LIMIT_MS,
        requests_per_customer_day=1.0,
        shape="steady",
        usd_per_m_prompt_tokens=0.0,
        usd_per_m_generated_tokens=0.0,
        max_batch=max_batch,
        attention_flop=attention_flop,
    )


def comparisons() -> list[Comparison]:
    """Every published figure beside ours, in the order of the tables."""
    rows: list[Comparison] = []
    for index, (device, count, model, bits, published) in enumerate(_ALL_AT_ONCE):
        for (prompt, generated), value in zip(_LENGTHS, published, strict=True):
            ours = _tokens_per_s(device, count, model, bits, prompt, generated, 4096)
            at = (device, count, model, bits, prompt, generated)
            rows.append(Comparison(*at, "tokens/s", value, ours, index < _FITTED))
    for device, model, size, prompt, generated, value in _FIXED_BATCH:
        ours = _tokens_per_s(device, 1, model, 8, prompt, generated, size)
        rows.append(
            Comparison(device, 1, model, 8, prompt, generated, "tokens/s", value, ours, False)
        )
    return rows + _latencies()


def _tokens_per_s(
    device: str, count: int, model: str, bits: int, prompt: int, generated: int, batch: int
) -> float:
    service = known_service(model, bits, prompt, generated, batch)
    cost = roofline.service_cost(service, at_bits(known(device), bits), count)
    return generated * count / cost.work_s


def _latencies() -> list[Comparison]:
    rows: list[Comparison] = []
    for name, count, model, prompt, generated, ttft_ms, tpot_ms in _ALONE:
        service, device = known_service(model, 8, prompt, generated, 1), known(name)
        at = (name, count, model, 8, prompt, generated)
        ours = roofline.prefill_s(service, device, prompt, count) * 1e3
        rows.append(Comparison(*at, "ttft ms", ttft_ms, ours, False))
        if tpot_ms:
            step = roofline.step_s(service, device, 1, count) * 1e3
            rows.append(Comparison(*at, "tpot ms", tpot_ms, step, False))
    return rows


def summary(rows: list[Comparison]) -> dict[str, float]:
    """Median and 90% quantile of the size of the error, and its mean sign, of rows given."""
    errors = np.array([row.error for row in rows])
    size = np.abs(errors)
    return {
        "rows": float(len(rows)),
        "median": float(np.median(size)),
        "p90": float(np.quantile(size, 0.9)),
        "bias": math.exp(float(np.log1p(errors).mean())) - 1.0,
    }


def table(rows: list[Comparison]) -> str:
    """Rows as text, one line each, for a report or a terminal."""
    head = f"{'device':<14}{'n':>2} {'model':<14}{'bits':>4}{'prompt':>8}{'answer':>8}  "
    lines = [head + f"{'measure':<9}{'published':>10}{'ours':>10}{'error':>7}"]
    lines += [
        f"{r.device:<14}{r.devices:>2} {r.model:<14}{r.bits:>4}{r.prompt:>8}{r.generated:>8}  "
        f"{r.measure:<9}{r.published:>10,.4g}{r.predicted:>10,.4g}{r.error:>+7.0%}"
        + ("  fitted" if r.fitted else "")
        for r in rows
    ]
    return "\n".join(lines)
