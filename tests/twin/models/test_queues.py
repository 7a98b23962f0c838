import math

import numpy as np
import pytest

from aigrid.twin.models.queues import (
    Stream,
    erlang_c,
    merged,
    mg1_ps_sojourn_s,
    mg1_wait_cdf,
    mg1_wait_s,
    mm1_sojourn_s,
    mmc_sojourn_s,
    stream_of,
)


def waits(rate: float, work_s: np.ndarray, seed: int) -> np.ndarray:
    """Waits of a first-come queue by Lindley's recursion."""
    gaps = np.random.default_rng(seed).exponential(1.0 / rate, len(work_s))
    steps = np.concatenate(([0.0], work_s[:-1] - gaps[1:]))
    total = np.cumsum(steps)
    return total - np.minimum.accumulate(np.minimum(total, 0.0))


def test_one_server_is_many_servers_with_one() -> None:
    assert mmc_sojourn_s(0.7, 1.0, 1) == pytest.approx(mm1_sojourn_s(0.7, 1.0))
    assert erlang_c(0.7, 1.0, 1) == pytest.approx(0.7)
    # The textbook's table: 2 servers offered 1 erlang wait with probability 1/3.
    assert erlang_c(1.0, 1.0, 2) == pytest.approx(1.0 / 3.0)


def test_memoryless_work_waits_alike_in_every_formula() -> None:
    wait = mg1_wait_s(0.5, 1.0, 2.0)
    assert wait + 1.0 == pytest.approx(mm1_sojourn_s(0.5, 1.0))
    assert mg1_ps_sojourn_s(0.5, 1.0) == pytest.approx(mm1_sojourn_s(0.5, 1.0))


def test_a_queue_that_cannot_keep_up_waits_for_ever() -> None:
    assert mm1_sojourn_s(2.0, 1.0) == math.inf
    assert mmc_sojourn_s(2.0, 1.0, 2) == math.inf
    assert mg1_wait_s(1.0, 1.0, 1.0) == math.inf
    assert mg1_ps_sojourn_s(1.0, 1.0) == math.inf
    assert erlang_c(3.0, 1.0, 2) == 1.0
    assert not mg1_wait_cdf(Stream(1.0, 1.0, 1.0, 1.0), np.array([9.0])).any()


def test_waits_are_exact_for_memoryless_work() -> None:
    at = np.array([-1.0, 0.0, 1.0, 5.0])
    cdf = mg1_wait_cdf(Stream(0.6, 1.0, 2.0, 6.0), at)
    assert cdf == pytest.approx([0.0, 0.4, 1 - 0.6 * math.exp(-0.4), 1 - 0.6 * math.exp(-2.0)])


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.85])
def test_waits_of_real_prompt_lengths_are_near_those_of_a_simulated_queue(busy: float) -> None:
    work = np.random.default_rng(7).choice([0.01, 0.03, 0.05, 0.12, 0.3], 300_000)
    stream = stream_of(busy / work.mean(), work)
    drawn = waits(stream.rate, work, 8)
    assert mg1_wait_s(stream.rate, stream.mean_s, stream.square_s2) == pytest.approx(
        drawn.mean(), rel=0.05
    )
    p95 = float(np.quantile(drawn, 0.95))
    assert mg1_wait_cdf(stream, np.array([p95]))[0] == pytest.approx(0.95, abs=0.01)


def test_streams_merge_by_their_rates() -> None:
    both = merged([Stream(1.0, 1.0, 1.0, 1.0), Stream(3.0, 2.0, 4.0, 8.0)])
    assert both == Stream(4.0, 1.75, 3.25, 6.25)
    assert both.busy == pytest.approx(7.0)
    assert merged([]) == Stream(0.0, 0.0, 0.0, 0.0)
