"""The map with its figures: what is drawn at first, and what the page's script may show instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.outcome import Rehearsal
from aigrid.twin.report import maps
from aigrid.twin.report.figures import COLUMNS, Figure, count, share
from aigrid.twin.report.verdict import OURS
from aigrid.twin.report.words import REGION_FIGURES

Floats = NDArray[np.float64]
# Chosen at first where there is such a figure.
FIRST = "slo_attainment"
WEIGHT = "customers"
FEWEST = 2
_BY_NAME = {figure.name: figure for figure in COLUMNS}


def region_map(
    rehearsal: Rehearsal, labels: Mapping[str, str], words: Mapping[str, str]
) -> dict[str, Any] | None:
    """What the template needs; None where there are no figures, or too few regions for a map."""
    shape = np.shape(rehearsal.region_latitude_deg)
    names = dict.fromkeys(
        name
        for outcome in rehearsal.policies.values()
        for name, values in outcome.regions.items()
        if np.shape(values) == shape and name != WEIGHT
    )
    weight = _weight(rehearsal, shape)
    here = np.flatnonzero(weight > 0.0)
    if not names or len(here) < FEWEST:
        return None
    regions = [labels.get(rehearsal.region_names[row], rehearsal.region_names[row]) for row in here]
    data = {name: _figure(rehearsal, name, here) for name in names}
    figure = FIRST if FIRST in names else next(iter(names))
    shown = data[figure]["policies"]
    policy = OURS if OURS in shown else next(iter(shown))
    drawn = maps.bubbles(
        rehearsal.region_latitude_deg[here], rehearsal.region_longitude_deg[here], weight[here]
    )
    title = f"{data[figure]['title']}, {policy}"
    told = [f"{r}: {v}" for r, v in zip(regions, shown[policy]["texts"], strict=True)]
    return {
        "svg": maps.bubble_map(drawn, regions, shown[policy]["steps"], f"{words['map']}: {title}"),
        "told": told,
        "lead": words["map_plain"] if np.ptp(weight[here]) == 0.0 else words["map_lead"],
        "figure": figure,
        "policy": policy,
        "regions": regions,
        "figures": {name: entry["title"] for name, entry in data.items()},
        "policies": list(rehearsal.policies),
        "data": {"regions": regions, "figures": data},
    }


def _weight(rehearsal: Rehearsal, shape: tuple[int, ...]) -> Floats:
    """Customers; alike where nobody counted them."""
    for outcome in rehearsal.policies.values():
        if WEIGHT in outcome.regions:
            return np.asarray(outcome.regions[WEIGHT], np.float64)
    return np.ones(shape)


def _figure(rehearsal: Rehearsal, name: str, here: NDArray[np.intp]) -> dict[str, Any]:
    """Texts and colours of one figure."""
    values = {
        policy: np.asarray(outcome.regions[name], np.float64)[here]
        for policy, outcome in rehearsal.policies.items()
        if name in outcome.regions
    }
    low, high = _ends(list(values.values()))
    known = _BY_NAME.get(name)
    spelt = known.spelt if known else share if _is_share(low, high) else count
    return {
        "title": _title(known, name),
        "low": spelt(low),
        "high": spelt(high),
        "policies": {
            policy: {
                "texts": [spelt(float(value)) for value in column],
                "steps": maps.steps(column, low, high),
                "order": _ranks(column),
            }
            for policy, column in values.items()
        },
    }


def _ends(columns: list[Floats]) -> tuple[float, float]:
    """One scale for all policies, so that their maps can be compared.

    A policy with one value everywhere (none served, say) has no map to see, and would take the
    contrast out of the others'; it does not stretch the scale unless all are like that.
    """
    finite = [column[np.isfinite(column)] for column in columns]
    varied = [column for column in finite if len(column) and np.ptp(column) > 0.0]
    every = np.concatenate(varied or finite)
    return (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)


def _ranks(values: Floats) -> list[int]:
    """Place of each value from the smallest; equal ones in the order of their rows."""
    order = np.argsort(np.nan_to_num(values, nan=-np.inf), kind="stable")
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values))
    found: list[int] = ranks.tolist()
    return found


def _is_share(low: float, high: float) -> bool:
    return low >= 0.0 and high <= 1.0


def _title(figure: Figure | None, name: str) -> str:
    if figure is None:
        return REGION_FIGURES.get(name, name.replace("_", " "))
    return f"{figure.title} ({figure.unit})" if figure.unit else figure.title
