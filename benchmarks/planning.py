"""How good and how fast plans are: fast against exact on small cases, and the national case.

A small case is a prefecture whose sites are placed anew by each seed; HiGHS gets 20 seconds a case,
and what it could not close stands in the note. The national case has 200,000 towers; its gap is to
a cost that no plan can beat (`planning.bound`), so the true gap is smaller.
"""

from __future__ import annotations

import math
import resource
import time
from dataclasses import replace
from typing import Any

from aigrid.app.bundled import find_bundled
from aigrid.app.planning import DEVICES
from aigrid.twin.country.files import load_country
from aigrid.twin.fluid.rehearsal import policy_of
from aigrid.twin.models.devices import known
from aigrid.twin.planning.model import Model, model_of
from aigrid.twin.planning.search import EXACT, FAST, Found, find
from aigrid.twin.planning.solution import account
from aigrid.twin.planning.terms import BUY, OFF, Terms

SEEDS = range(3)
SCALES = (1.0, 10.0)
EXACT_S = 20.0
NATIONAL_LIMIT_S = 60.0
GAP_LIMIT = 0.05
FEW = ("rtx-pro-6000", "b200")


def model(name: str, seed: int, scale: float, towers: str, devices: tuple[str, ...]) -> Model:
    """A bundled scenario as a planning problem."""
    country = load_country(find_bundled("scenarios", name), seed)
    services = tuple(
        replace(s, requests_per_customer_day=s.requests_per_customer_day * scale)
        for s in country.services
    )
    terms = Terms(tuple(known(device) for device in devices), towers=towers)
    return model_of(replace(country, services=services), terms, policy_of(country))


def run() -> list[dict[str, Any]]:
    """Rows of the planning benchmark."""
    return [*(_small(scale) for scale in SCALES), *_national()]


def _small(scale: float) -> dict[str, Any]:
    cases = [find(model("region", seed, scale, OFF, FEW), EXACT, EXACT_S) for seed in SEEDS]
    gaps = [found.gap for found in cases]
    return _row(
        f"region x {scale:g}, fast over exact, worst of {len(gaps)} seeds",
        max(gaps),
        "",
        GAP_LIMIT,
        "; ".join(_told(found) for found in cases),
    )


def _told(found: Found) -> str:
    assert found.exact is not None
    assert found.fast is not None
    least = found.exact.bound_usd
    closed = account(found.model, found.exact).cost_usd / least - 1.0
    return (
        f"{found.gap:+.2%} in {found.fast.seconds:.1f} s, exact {found.exact.seconds:.1f} s "
        f"(its own gap {closed:.2%})"
    )


def _national() -> list[dict[str, Any]]:
    began = time.perf_counter()
    prepared = model("japan", 0, 1.0, BUY, DEVICES)
    ready = time.perf_counter()
    found = find(prepared, FAST)
    seconds = time.perf_counter() - ready
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    note = f"{len(prepared.country.network):,} sites; {ready - began:.1f} s before, for tables"
    return [
        _row("japan, fast plan", seconds, "s", NATIONAL_LIMIT_S, note),
        _row(
            "japan, over what no plan can beat",
            found.gap_to_bound,
            "",
            math.inf,
            "an upper limit of the gap",
        ),
        _row("japan, peak memory", memory_mb, "MB", 3000.0, ""),
    ]


def _row(figure: str, value: float, unit: str, limit: float, note: str) -> dict[str, Any]:
    return {
        "benchmark": "planning",
        "figure": figure,
        "value": round(value, 4),
        "unit": unit,
        "limit": f"<= {limit:g}" if math.isfinite(limit) else "",
        "verdict": ("won" if value <= limit else "lost") if math.isfinite(limit) else "",
        "note": note,
    }
