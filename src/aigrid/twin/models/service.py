"""AI services as data: what a request needs, what was promised, what it earns."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@functools.lru_cache(maxsize=256)
def _mean(quantiles: tuple[float, ...]) -> float:
    q = np.asarray(quantiles)
    return float((q[1:] + q[:-1]).mean() / 2.0)


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """A distribution of token counts as its quantiles at equal steps, in between straight lines.

    Attributes:
        quantiles: (Q,) non-decreasing token counts at probabilities 0, 1/(Q-1), ..., 1; Q >= 2.
    """

    quantiles: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean token count, exactly, of the piecewise linear quantile function."""
        return _mean(self.quantiles)

    @property
    def mean_square(self) -> float:
        """Mean of the squared token count, likewise."""
        a, b = np.asarray(self.quantiles[:-1]), np.asarray(self.quantiles[1:])
        return float(((a * a + a * b + b * b) / 3.0).mean())

    def at(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Token counts at probabilities in 0 to 1, of the argument's shape."""
        steps = np.linspace(0.0, 1.0, len(self.quantiles))
        counts: NDArray[np.float64] = np.interp(probability, steps, np.asarray(self.quantiles))
        return counts


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the grid.

    Attributes:
        name: unique in a scenario.
        parameters: weights that a token passes (a mixture of experts: the active ones).
        memory_parameters: weights that must be in memory; equals `parameters` for dense models.
        bytes_per_weight: 1 for FP8 and int8, 2 for BF16.
        kv_bytes_per_token: KV cache of one token of one sequence.
        prompt_tokens: of a request.
        generated_tokens: of a request; 1 for vision and control loops, 0 for embeddings, which
            have a prefill and no decode.
        shared_prefix_tokens: mean part of a prompt that an earlier request of the same session or
            tenant left in the site's KV cache, where the site has kept it.
        residency: probability that the prefix is still there, when the request comes to the site
            that served the session before.
        ttft_slo_ms: time to first token promised, from the user's device and back.
        tpot_slo_ms: time per output token promised, a request's mean.
        requests_per_customer_day: mean.
        shape: name of the daily shape of its demand (see `shapes`).
        usd_per_m_prompt_tokens: price of a million prompt tokens.
        usd_per_m_generated_tokens: price of a million generated ones.
        regions: where it may run; empty for everywhere (sovereignty).
        kinds: site kinds it may stand on (a 70B model does not stand on a tower); empty for all.
        max_batch: sequences in one batch, at most.
        attention_flop: FLOP for one token to attend to one other, over all layers: 4 x layers x
            heads x width of a head; 0 leaves attention out.
    """

    name: str
    parameters: float
    memory_parameters: float
    bytes_per_weight: float
    kv_bytes_per_token: float
    prompt_tokens: TokenLengths
    generated_tokens: TokenLengths
    shared_prefix_tokens: float
    residency: float
    ttft_slo_ms: float
    tpot_slo_ms: float
    requests_per_customer_day: float
    shape: str
    usd_per_m_prompt_tokens: float
    usd_per_m_generated_tokens: float
    regions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    max_batch: int = 64
    attention_flop: float = 0.0

    @property
    def decodes(self) -> bool:
        """Whether any answer has a decode step."""
        return self.generated_tokens.mean > 0.0

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in memory."""
        return self.memory_parameters * self.bytes_per_weight


@dataclass(frozen=True, slots=True)
class ServiceCost:
    """What a service costs on one device all to itself; a share of s makes every time 1/s as long.

    A device does one thing at a time: prefills come first and one after the other (first come,
    first served, over all services of the device), decoding gets the rest of the time, its services
    take turns. One step of a batch of n makes one token for each of its n sequences.

    Attributes:
        prefill_s_per_token: device time of one prompt token.
        prefill_fixed_s: device time of a prefill beside that.
        step_fixed_s: of one decode step, whatever the batch (weights read, overhead).
        step_sequence_s: of one decode step, for each sequence (its KV cache read, its FLOP).
        places: sequences decoded together at most, from memory, `max_batch` and the TPOT promised.
        work_s: device time of a mean request in a full batch; 1 / work_s is the capacity in
            requests a second.
        load_s: until a replica that is not resident serves.
        memory_gb: weights and the KV cache of a full batch.
    """

    prefill_s_per_token: float
    prefill_fixed_s: float
    step_fixed_s: float
    step_sequence_s: float
    places: int
    work_s: float
    load_s: float
    memory_gb: float
