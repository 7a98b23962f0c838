"""A region request by request: what is told adds up, and is the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from tests.twin.fluid import small

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import Country
from aigrid.twin.fluid import rehearse as rehearse_flows
from aigrid.twin.fluid.responses import quantile_ms
from aigrid.twin.models.lengths import fixed
from aigrid.twin.region.rehearsal import rehearse
from aigrid.twin.region.tails import EventsRehearsal

CODE = """
from tests.twin.region.test_rehearsal import city
from aigrid.twin.region.rehearsal import rehearse
found = rehearse(city(minutes=3), ["aigrid", "least-loaded"], 3)
print(found.trace_sha256, found.policies["aigrid"].ttft_ms_p99.hex())
"""


def city(times: float = 20.0, **changes: object) -> Country:
    """24 towers, two hubs, a factory; `times` the requests of the small country."""
    values = {"network": small.network(towers=24, hubs=2), "minutes": 6} | changes
    country = small.country(**values)
    services = tuple(
        replace(s, requests_per_customer_day=s.requests_per_customer_day * times)
        for s in country.services
    )
    return replace(country, services=services)


@pytest.fixture(scope="module")
def found() -> EventsRehearsal:
    return rehearse(city(), ["aigrid", "nearest", "radio-only"], 0)


def test_every_request_is_served_refused_or_in_flight(found: EventsRehearsal) -> None:
    for name, outcome in found.policies.items():
        tails = found.tails[name]
        open_ = tails.whole["in_flight"]
        assert outcome.requests == outcome.served + outcome.refused + open_
        assert outcome.requests > 50_000
        each = tails.services.values()
        assert sum(one["requests"] for one in each) == outcome.requests
    assert found.policies["radio-only"].served == 0.0
    assert len({outcome.requests for outcome in found.policies.values()}) == 1


def test_tails_rise_and_services_differ(found: EventsRehearsal) -> None:
    told = found.to_dict()
    ours = told["policies"]["aigrid"]
    for measure in ("ttft_ms", "tpot_ms", "e2e_ms"):
        tails = [ours[f"{measure}_{q}"] for q in ("p50", "p95", "p99", "p999")]
        assert tails == sorted(tails)
    assert ours["ttft_ms_p50"] == found.policies["aigrid"].ttft_ms_p50
    assert ours["services"]["chat"]["ttft_ms_p50"] > ours["services"]["vision"]["ttft_ms_p50"]
    assert told["requests_from"] == "synthetic"
    assert told["events"] > 3 * ours["requests"]
    assert found.policies["aigrid"].slo_attainment > 0.99


def test_radio_and_demand_are_those_of_the_flows(found: EventsRehearsal) -> None:
    """And so, at a load at which few wait, are latencies."""
    flows = rehearse_flows(city(), ["aigrid"], 0).policies["aigrid"]
    events = found.policies["aigrid"]
    assert events.utilisation_radio_only == pytest.approx(flows.utilisation_radio_only)
    assert events.radio_miss_rate == flows.radio_miss_rate
    assert events.requests == pytest.approx(flows.requests, rel=0.02)
    for name, (edges, counts) in events.histograms.items():
        if name == "ttft_ms:chat":
            p95 = quantile_ms(edges, counts, 0.95)
            assert p95 == pytest.approx(quantile_ms(*flows.histograms[name], 0.95), rel=0.1)


def test_threads_and_hash_seeds_change_nothing() -> None:
    told = [_told(1), _told(4)]
    assert told[0] == told[1]
    assert len(told[0][0]) == 64


def _told(threads: int) -> list[str]:
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    path = os.pathsep.join(sys.path)
    environment = os.environ | counts | {"PYTHONHASHSEED": str(threads), "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, check=True
    )
    return run.stdout.split()


def test_another_seed_is_another_day() -> None:
    small_city = city(minutes=1)
    first, again, other = (rehearse(small_city, ["aigrid"], s).trace_sha256 for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_too_many_candidates_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="candidates") as refused:
        rehearse(city(minutes=1, dials={"candidates": 20}), ["aigrid"], 0)
    assert "15 or less" in str(refused.value.next_step)


def test_a_site_that_loses_its_share_hands_its_streams_over() -> None:
    busy = rehearse(city(times=100.0, minutes=4), ["aigrid"], 0)
    tails = busy.tails["aigrid"].whole
    assert tails["moved"] > 0
    assert busy.policies["aigrid"].refused < 0.01 * busy.policies["aigrid"].requests


def test_rare_requests_find_what_sessions_of_the_day_before_left() -> None:
    def p99_ms(residency: float) -> float:
        long = small.service(
            parameters=3e10,
            memory_parameters=3e10,
            ttft_slo_ms=3000.0,
            prompt_tokens=fixed(8000.0),
            generated_tokens=fixed(1.0),
            shared_prefix_tokens=7900.0,
            residency=residency,
            requests_per_customer_day=0.2,
        )
        found = rehearse(city(1.0, services=(long,)), ["central-only"], 0)
        assert 5 < found.policies["central-only"].requests < 60
        return float(found.tails["central-only"].whole["ttft_ms_p99"])

    # One site serves all: a prefix that is kept is always found there.
    assert p99_ms(1.0) < 0.7 * p99_ms(0.0)
