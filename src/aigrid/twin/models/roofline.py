"""What a service costs on a device: the roofline of prefill and decode, and the places in memory.

Prefill reads the weights once and is bound by compute: 2 FLOP a weight and token (Kaplan et al.,
"Scaling Laws for Neural Language Models", 2020, section 2.1), and attention. Decoding reads weights
and KV cache at every step and is mostly bound by memory (Pope et al., "Efficiently Scaling
Transformer Inference", 2023, section 2). The larger of both is the time of either (Williams,
Waterman and Patterson, "Roofline", CACM 2009).
"""

from __future__ import annotations

import math

import numpy as np

from aigrid.twin.models.device import Device
from aigrid.twin.models.service import Service, ServiceCost

GB = 1e9
# Activations, the runtime and fragmentation take the rest; vLLM's default is the same 0.9.
USABLE_MEMORY = 0.9
# A step of a service that never decodes: next to nothing, and no division by zero.
NO_STEP_S = 1e-9


def weights_read(service: Service, batch: float) -> float:
    """Bytes of weights that a step of `batch` tokens reads.

    A mixture of experts has a part r = parameters / memory_parameters of its weights in each
    token's way; chosen independently, n tokens touch 1 - (1 - r)^n of them.
    """
    active = min(1.0, service.parameters / service.memory_parameters)
    return service.weight_bytes * float(1.0 - (1.0 - active) ** max(batch, 1.0))


def mean_context(service: Service) -> float:
    """Mean tokens in the cache of a sequence, over its decode steps.

    A sequence of g tokens has p + (i - 1) in cache at step i, and long ones are seen more often:
    E[p] + E[g^2] / (2 E[g]), prompt and answer taken as independent.
    """
    generated = service.generated_tokens
    return service.prompt_tokens.mean + generated.mean_square / (2.0 * max(generated.mean, 1e-9))


def step_s(service: Service, device: Device, batch: float, devices: float = 1.0) -> float:
    """Time of one decode step of `batch` sequences on `devices` devices that share the weights."""
    read = weights_read(service, batch) + batch * service.kv_bytes_per_token * mean_context(service)
    memory = read / (device.memory_bytes_per_s * device.decode_efficiency)
    flop = batch * (2.0 * service.parameters + service.attention_flop * mean_context(service))
    compute = flop / (device.flop_per_s * device.prefill_efficiency)
    return max(memory, compute) / devices + device.step_overhead_ms / 1e3


def prefill_s(service: Service, device: Device, tokens: float, devices: float = 1.0) -> float:
    """Time of the prefill of one prompt of `tokens` on `devices` devices."""
    flop = tokens * (2.0 * service.parameters + service.attention_flop * tokens / 2.0)
    compute = flop / (device.flop_per_s * device.prefill_efficiency)
    read = weights_read(service, tokens) / (device.memory_bytes_per_s * device.decode_efficiency)
    return max(compute, read) / devices + device.step_overhead_ms / 1e3


def places(
    service: Service, device: Device, devices: float = 1.0, memory_gb: float | None = None
) -> int:
    """Sequences that decode together: what memory, the TPOT promised and `max_batch` allow.

    Args:
        service: what runs.
        device: where.
        devices: that share the weights.
        memory_gb: what the service may use; all of the devices' where None.

    Returns:
        0 where the weights do not fit; 1 at least where they do, even if one sequence already
        takes longer than the TPOT promised.
    """
    memory = device.memory_gb * devices if memory_gb is None else memory_gb
    spare = memory * GB * USABLE_MEMORY - service.weight_bytes
    each = service.kv_bytes_per_token * sequence_tokens(service)
    if spare < each:
        return 0
    most = service.max_batch if each == 0 else min(service.max_batch, int(spare / each))
    lasting = most
    while (
        service.decodes
        and lasting > 1
        and step_s(service, device, lasting, devices) * 1e3 > service.tpot_slo_ms
    ):
        lasting -= 1
    return lasting


def sequence_tokens(service: Service) -> float:
    """Tokens of a sequence that memory is kept for: mean prompt and mean answer."""
    return service.prompt_tokens.mean + service.generated_tokens.mean


def fits(service: Service, device: Device, devices: float = 1.0) -> bool:
    """Whether the weights and one sequence fit into the memory of `devices` devices."""
    return places(service, device, devices) > 0


def service_cost(
    service: Service, device: Device, devices: float = 1.0, memory_gb: float | None = None
) -> ServiceCost:
    """Cost of a service in seconds of one device, where `devices` of them share it.

    Real times are these over the number of devices. The fixed overhead of a step does not get
    shorter with more devices, so that a device's cost grows with their number. Straight lines are
    laid through the rooflines: prefill through their mean over the prompts, decode through a batch
    of one and a full one.

    Args:
        service: what runs.
        device: where.
        devices: that share the weights (tensor parallel); 1 for one device.
        memory_gb: what the service may use; all of the devices' where None.

    Returns:
        `places` 0 and infinite `work_s` where it does not fit.
    """
    room = places(service, device, devices, memory_gb)
    prompt = service.prompt_tokens
    fixed, per_token = _prefill_line(service, device, devices)
    step_fixed, step_sequence = _step_line(service, device, devices, max(room, 1))
    spared = min(service.shared_prefix_tokens * service.residency, prompt.mean)
    decode = step_fixed / max(room, 1) + step_sequence
    work = fixed + (prompt.mean - spared) * per_token + service.generated_tokens.mean * decode
    cache = room * service.kv_bytes_per_token * sequence_tokens(service)
    return ServiceCost(
        prefill_s_per_token=per_token,
        prefill_fixed_s=fixed,
        step_fixed_s=step_fixed,
        step_sequence_s=step_sequence,
        places=room,
        work_s=work if room else math.inf,
        load_s=service.weight_bytes / (device.load_bytes_per_s * devices),
        memory_gb=(service.weight_bytes + cache) / GB,
    )


def _prefill_line(service: Service, device: Device, devices: float) -> tuple[float, float]:
    prompt = service.prompt_tokens
    # Attention of a prompt of p tokens is p^2 / 2 pairs; over all prompts' tokens this many each.
    pairs = prompt.mean_square / (2.0 * max(prompt.mean, 1e-9))
    flop = 2.0 * service.parameters + service.attention_flop * pairs
    per_token = flop / (device.flop_per_s * device.prefill_efficiency)
    counts = prompt.at(np.linspace(0.0, 1.0, 257))
    whole = np.array([prefill_s(service, device, max(float(t), 1.0), devices) for t in counts])
    mean = float((whole[1:] + whole[:-1]).mean() / 2.0) * devices
    return max(mean - per_token * prompt.mean, 0.0), per_token


def _step_line(service: Service, device: Device, devices: float, room: int) -> tuple[float, float]:
    if not service.decodes:
        return NO_STEP_S, 0.0
    one = step_s(service, device, 1, devices) * devices
    if room == 1:
        return one, 0.0
    each = (step_s(service, device, room, devices) * devices - one) / (room - 1)
    return one - each, each
