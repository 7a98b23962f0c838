"""A rehearsal that nobody ran, and the small country it is of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.scenario import Country, Money, NetworkPath, RadioModel
from aigrid.twin.models.devices import known
from aigrid.twin.models.lengths import fixed
from aigrid.twin.models.service import Service
from aigrid.twin.outcome import PolicyOutcome, Rehearsal

REGIONS = ("JP-01", "JP-13", "JP-14", "JP-27", "JP-47")
LATITUDE = np.array([43.06, 35.69, 35.45, 34.69, 26.21])
LONGITUDE = np.array([141.35, 139.69, 139.64, 135.52, 127.68])
MINUTES = 180
EDGES_MS = np.geomspace(10.0, 20_000.0, 60)


def service(name: str = "chat") -> Service:
    return Service(
        name=name,
        parameters=8e9,
        memory_parameters=8e9,
        bytes_per_weight=1.0,
        kv_bytes_per_token=65536.0,
        prompt_tokens=fixed(1000),
        generated_tokens=fixed(200),
        shared_prefix_tokens=0.0,
        residency=0.0,
        ttft_slo_ms=500.0,
        tpot_slo_ms=60.0,
        requests_per_customer_day=5.0,
        shape="conversation",
        usd_per_m_prompt_tokens=0.1,
        usd_per_m_generated_tokens=0.4,
    )


def country() -> Country:
    """A factory in Tokyo, a hub, and one tower in each region."""
    sites = 2 + len(REGIONS)
    network = Network(
        names=np.array(["factory-1", "hub-1", *(f"tower-{r}" for r in REGIONS)]),
        kind=np.array([FACTORY, HUB] + [TOWER] * len(REGIONS), np.int8),
        region=np.array([1, 1, 0, 1, 2, 3, 4], np.int16),
        latitude_deg=np.array([35.69, 35.69, *LATITUDE]),
        longitude_deg=np.array([139.69, 139.69, *LONGITUDE]),
        parent=np.array([-1, 0, *[1] * len(REGIONS)], np.int32),
        device=np.array([1, 1, *[0] * len(REGIONS)], np.int8),
        devices=np.ones(sites),
        cells=np.array([0, 0, *[3] * len(REGIONS)], np.int16),
        shape=np.zeros(sites, np.int8),
        peak_load=np.full(sites, 0.6),
        customers=np.array([0.0, 0.0, 5e6, 14e6, 9e6, 9e6, 1.5e6]),
        regions=REGIONS,
    )
    return Country(
        name="made-up",
        network=network,
        devices=(known("l4"), known("h100")),
        services=(service(),),
        radio_shapes=("home",),
        radio=RadioModel(0.5, 0.5, 0.05, 0.2, 0.8, 0.87, 0.965, 0.1),
        path=NetworkPath(8.0, 0.3, 4.9, 1.4, 10.0, 0.4, 6.0),
        money=Money(0.15, 1.3, 5.0, 0.05, 2000.0, 300.0),
        minutes=MINUTES,
        sources={"radio.fixed": "a source <with> marks", "money": "made up"},
    )


def outcome(policy: str, place: int, *, slo: float = 0.9, missed: float = 2e-6) -> PolicyOutcome:
    """Figures that differ by `place`."""
    hours = np.arange(MINUTES) / 60.0
    wave = 0.5 + 0.3 * np.sin(hours + place)
    counts = np.exp(-((np.log(EDGES_MS) - 5.0 - 0.3 * place) ** 2))
    return PolicyOutcome(
        policy=policy,
        radio_miss_rate=missed,
        utilisation_mean=0.6 - 0.05 * place,
        utilisation_radio_only=0.31,
        idle_reclaimed=0.7 - 0.1 * place,
        tokens_per_s_mean=2.5e6 - 1e5 * place,
        requests=1e6,
        served=9.9e5,
        refused=1e4,
        slo_attainment=slo,
        ttft_ms_p50=120.0 + 10 * place,
        ttft_ms_p99=900.0 + 50 * place,
        energy_kwh=5e6 + 1e5 * place,
        cost_per_mtok=0.4 + 0.01 * place,
        revenue_per_capex=1.2 - 0.1 * place,
        series={
            "radio": 0.3 * wave,
            "ai": 0.4 * wave,
            "utilisation": 0.7 * wave,
            "tokens_per_s": 2.5e6 * wave,
        },
        regions={
            "customers": np.array([5e6, 14e6, 9e6, 9e6, 1.5e6]),
            "slo_attainment": np.linspace(0.7, 0.99, len(REGIONS)) - 0.02 * place,
        },
        histograms={"ttft_ms:chat": np.stack([EDGES_MS, counts])},
        money={"whole_site:capital_usd": 1e9, "marginal:return_on_capital": 0.4},
        notes=("Nobody ran this.",),
    )


def rehearsal(*outcomes: PolicyOutcome) -> Rehearsal:
    """With `aigrid` ahead of `nearest`, unless told otherwise."""
    told = outcomes or (outcome("aigrid", 0, slo=0.95), outcome("nearest", 1, missed=4e-4))
    return Rehearsal(
        scenario="made-up",
        seed=7,
        sites=7,
        customers=38.5e6,
        minutes=MINUTES,
        wall_s=1.25,
        peak_rss_mb=512.0,
        trace_sha256="ab" * 32,
        region_names=REGIONS,
        region_latitude_deg=LATITUDE,
        region_longitude_deg=LONGITUDE,
        policies={o.policy: o for o in told},
    )


def renamed(found: Rehearsal, scenario: str) -> Rehearsal:
    return replace(found, scenario=scenario)
