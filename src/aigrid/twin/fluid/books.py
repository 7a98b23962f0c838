"""From a day's sums to what a reader asks: shares, latencies, energy, money, the map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.network import TOWER
from aigrid.twin.fluid.ground import TOGETHER, Ground
from aigrid.twin.fluid.radio import RadioState
from aigrid.twin.fluid.responses import (
    TPOT_MS,
    TTFT_MS,
    Responses,
    quantile_ms,
    tpot_counts,
    ttft_counts,
)
from aigrid.twin.fluid.tally import Tally
from aigrid.twin.models import money
from aigrid.twin.models.money import Books
from aigrid.twin.outcome import PolicyOutcome
from aigrid.twin.policies import FIXED, GUARD, Plan

Floats = NDArray[np.float64]
HOUR_MIN = 60.0
DAY_MIN = 1440.0


def outcome_of(
    plan: Plan, ground: Ground, responses: Responses, sums: Tally, state: RadioState
) -> PolicyOutcome:
    """One policy's figures."""
    minutes = float(ground.country.minutes)
    mass = sums.mass[:, : responses.points]
    counts = [ttft_counts(ground, responses, s, mass[s]) for s in range(len(sums.came))]
    every = np.sum(counts, axis=0)
    towers, radio_used = ground.has_radio, state.used_sum.sum()
    idle = ground.compute[towers].sum() * minutes - state.used_sum[towers].sum()
    kwh, kwh_radio = _energy_kwh(plan, ground, sums, state)
    whole, added = _books(plan, ground, sums, kwh, kwh_radio)
    lines = whole.lines("whole_site") | added.lines("marginal")
    slots = max(np.count_nonzero(towers) * minutes, 1.0)
    compute = ground.compute.sum() * minutes
    return PolicyOutcome(
        policy=plan.name,
        radio_miss_rate=float(state.miss_sum.sum() / slots),
        utilisation_mean=float((radio_used + sums.busy_sum.sum()) / compute),
        utilisation_radio_only=float(
            radio_used / max(ground.compute[towers].sum() * minutes, 1e-9)
        ),
        idle_reclaimed=float(sums.share_sum[towers].sum() / max(idle, 1e-9)),
        tokens_per_s_mean=float(sums.tokens_sum.sum() / minutes / 60.0),
        requests=float(sums.came.sum()),
        served=float(sums.served.sum()),
        refused=float(sums.refused.sum()),
        slo_attainment=float(sums.good.sum() / max(sums.came.sum(), 1e-300)),
        ttft_ms_p50=quantile_ms(TTFT_MS, every, 0.5),
        ttft_ms_p99=quantile_ms(TTFT_MS, every, 0.99),
        energy_kwh=kwh,
        cost_per_mtok=whole.cost_per_mtok_usd,
        revenue_per_capex=whole.revenue_per_capital,
        series=_series(sums),
        regions=_regions(ground, sums, state),
        histograms=_histograms(ground, responses, mass, counts),
        money=lines,
        notes=_notes(plan, ground),
    )


def _energy_kwh(plan: Plan, ground: Ground, sums: Tally, state: RadioState) -> tuple[float, float]:
    """Of the run: of all sites, and of towers with the radio alone on the same computers."""
    minutes, pue = float(ground.country.minutes), ground.country.money.pue
    watts = _watts(plan, ground, (state.used_sum + sums.busy_sum) / minutes)
    alone = _watts(plan, ground, state.used_sum / minutes)[ground.has_radio]
    hours = minutes / HOUR_MIN
    return money.energy_kwh(watts, hours, pue), money.energy_kwh(alone, hours, pue)


def _watts(plan: Plan, ground: Ground, busy: Floats) -> Floats:
    watts = np.zeros(len(busy))
    for row, device in enumerate(ground.country.devices):
        here = ground.network.device == row
        devices = ground.compute[here]
        use = busy[here] / np.maximum(devices, 1e-9)
        watts[here] = money.power_w(device, devices, np.minimum(use, 1.0))
    if plan.central:
        watts[ground.has_radio] *= _part_of_capital(ground)
    return watts


def _part_of_capital(ground: Ground) -> Floats:
    """What a computer for the radio alone is of the tower's own, taken from their prices."""
    prices = np.array([device.capital_usd for device in ground.country.devices])
    own = (ground.compute * prices[ground.network.device])[ground.has_radio]
    part = ground.country.money.radio_only_tower_usd / np.maximum(own, 1e-9)
    return np.asarray(np.minimum(part, 1.0), np.float64)


def _capital_usd(plan: Plan, ground: Ground) -> float:
    prices = np.array([device.capital_usd for device in ground.country.devices])
    each = ground.compute * prices[ground.network.device]
    if plan.central:
        each = np.where(ground.has_radio, ground.country.money.radio_only_tower_usd, each)
    return float(each.sum())


def _books(
    plan: Plan, ground: Ground, sums: Tally, kwh: float, kwh_radio: float
) -> tuple[Books, Books]:
    country = ground.country
    a_day = DAY_MIN / country.minutes
    capital = _capital_usd(plan, ground)
    revenue = float((sums.served * ground.value_usd).sum()) * a_day
    tokens = float(sums.tokens_sum.sum()) * a_day
    whole = money.whole_site(
        country.money,
        capital_usd=capital,
        kwh_a_day=kwh * a_day,
        revenue_usd_a_day=revenue,
        tokens_a_day=tokens,
        customers=float(country.network.customers.sum()),
    )
    added = money.marginal(
        country.money,
        capital_usd=capital,
        radio_towers=float(np.count_nonzero(ground.has_radio)),
        kwh_a_day=kwh * a_day,
        kwh_a_day_radio_only=kwh_radio * a_day,
        revenue_usd_a_day=revenue,
        tokens_a_day=tokens,
    )
    return whole, added


def _series(sums: Tally) -> dict[str, Floats]:
    found = dict(sums.series)
    if sums.ttft_p50:
        found["ttft_ms_p50"] = np.array(sums.ttft_p50)
        found["ttft_ms_p99"] = np.array(sums.ttft_p99)
    return found


def _regions(ground: Ground, sums: Tally, state: RadioState) -> dict[str, Floats]:
    network, minutes = ground.network, float(ground.country.minutes)

    def total(values: Floats) -> Floats:
        column = np.bincount(network.region, values, minlength=len(network.regions))
        return np.asarray(column, np.float64)

    compute = total(ground.compute) * minutes
    radios = total(ground.has_radio.astype(np.float64)) * minutes
    asked = total(sums.asked)
    return {
        "customers": total(network.customers),
        "utilisation": _ratio(total(state.used_sum + sums.busy_sum), compute),
        "share_mean": _ratio(total(sums.share_sum), compute),
        "radio_miss_rate": _ratio(total(state.miss_sum), radios),
        "tokens_per_s": total(sums.tokens_sum) / minutes / 60.0,
        "served": _ratio(total(sums.answered), asked),
        "slo_attainment": _ratio(total(sums.promised), asked),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0.0)


def _histograms(
    ground: Ground, responses: Responses, mass: Floats, ttft: list[Floats]
) -> dict[str, Floats]:
    found = {}
    for s, service in enumerate(ground.country.services):
        found[f"ttft_ms:{service.name}"] = np.stack([TTFT_MS, ttft[s]])
        tpot = tpot_counts(responses, s, mass[s])
        found[f"tpot_ms:{service.name}"] = np.stack([TPOT_MS, tpot])
    return found


def _notes(plan: Plan, ground: Ground) -> tuple[str, ...]:
    notes = []
    if plan.central:
        devices = ground.compute[ground.network.kind != TOWER].sum()
        notes.append(
            "Equal capital: towers have computers for the radio alone and hubs none; what that "
            f"saves buys devices for the factories, which now have {devices:,.0f}. A tower's "
            "power is taken to shrink with its price."
        )
    if plan.shares == FIXED:
        notes.append(
            "The partition is fixed at the slot quantile of the busiest hour's mean load, and is "
            "spatial."
        )
    if plan.shares == GUARD and plan.sells_ai:
        notes.append(
            "Shares are set every minute from the minute before; live they are set faster."
        )
    large = int(np.count_nonzero(ground.compute > TOGETHER))
    if large:
        notes.append(
            f"Sites with more than {TOGETHER} devices ({large} here) answer as groups of so many."
        )
    return tuple(notes)
