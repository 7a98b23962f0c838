"""The report: one HTML file that needs no network, no script to be read, and fits a telephone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from aigrid.twin.outcome import Rehearsal
from aigrid.twin.report import maps, tails
from aigrid.twin.report.charts import Line, day_chart, distribution_chart, thinned
from aigrid.twin.report.figures import COLUMNS, best, count, ratio, share, simulated, usd
from aigrid.twin.report.inputs import Input
from aigrid.twin.report.setting import Setting
from aigrid.twin.report.verdict import OURS, RADIO_LIMIT, verdict
from aigrid.twin.report.words import MEANINGS, MONEY, MORE_SERIES, SERIES, WORDS

Floats = NDArray[np.float64]
FOLDER = Path(__file__).parent
SPELT = {"share": share, "count": count}
# Points of a distribution that are drawn.
_POINTS = 160


def page(rehearsal: Rehearsal, setting: Setting, language: str = "en") -> str:
    """The report as HTML text.

    Args:
        rehearsal: what was found.
        setting: inputs, sources, and how to repeat it.
        language: one of `words.WORDS`.
    """
    words = WORDS[language]
    return (
        _environment()
        .get_template("page.html")
        .render(
            lang=language,
            t=words,
            r=rehearsal,
            setting=setting,
            findings=verdict(rehearsal, setting.promised),
            columns=COLUMNS,
            meanings=MEANINGS,
            rows=_rows(rehearsal),
            notes=_notes(rehearsal, words["all"]),
            facts=_facts(rehearsal, words),
            tails=tails.rows_of(rehearsal),
            tails_told=tails.told_of(rehearsal),
            tail_columns=tails.COLUMNS,
            map=_map(rehearsal, setting, words),
            days=_days(rehearsal, SERIES, with_rest=False),
            more_days=_days(rehearsal, MORE_SERIES, with_rest=True),
            spreads=_spreads(rehearsal, "ttft_ms", setting),
            token_spreads=_spreads(rehearsal, "tpot_ms", setting),
            money=_money(rehearsal, words),
            heat=_heat(setting),
            inputs=_inputs(setting),
            spelt={"number": count, "share": share, "ms": lambda v: f"{v:,.0f}"},
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own files, not data: they go in as they are.
    made.globals["included"] = lambda name: Markup((FOLDER / name).read_text(encoding="utf-8"))
    return made


def _facts(rehearsal: Rehearsal, words: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (f"{rehearsal.sites:,}", words["sites"]),
        (count(rehearsal.customers), words["customers"]),
        (simulated(rehearsal.minutes), words["simulated"]),
        (str(len(rehearsal.policies)), words["policies"]),
        (f"{rehearsal.wall_s:,.1f} s", words["took"]),
        (f"{rehearsal.peak_rss_mb:,.0f} MB", words["memory"]),
    ]


def _rows(rehearsal: Rehearsal) -> list[dict[str, Any]]:
    outcomes = list(rehearsal.policies.values())
    values = [[float(getattr(o, figure.name)) for o in outcomes] for figure in COLUMNS]
    tops = [best(figure, column) for figure, column in zip(COLUMNS, values, strict=True)]
    return [
        {
            "policy": outcome.policy,
            "is_ours": outcome.policy == OURS,
            "cells": [
                {
                    "text": figure.spelt(column[row]),
                    "best": row in top,
                    "bad": figure.name == "radio_miss_rate" and column[row] > RADIO_LIMIT,
                }
                for figure, column, top in zip(COLUMNS, values, tops, strict=True)
            ],
        }
        for row, outcome in enumerate(outcomes)
    ]


def _notes(rehearsal: Rehearsal, everyone: str) -> list[tuple[str, str]]:
    told: dict[str, list[str]] = {}
    for outcome in rehearsal.policies.values():
        for note in outcome.notes:
            told.setdefault(note, []).append(outcome.policy)
    everybody = len(rehearsal.policies)
    return [
        (everyone if len(who) == everybody else ", ".join(who), note) for note, who in told.items()
    ]


def _days(rehearsal: Rehearsal, chosen: Iterable[str], *, with_rest: bool) -> list[Markup]:
    names = dict.fromkeys(
        name
        for outcome in rehearsal.policies.values()
        for name, values in outcome.series.items()
        if len(values) > 1
    )
    known = [name for name in chosen if name in names]
    rest = [name for name in names if name not in (*SERIES, *MORE_SERIES)] if with_rest else []
    return [_day(rehearsal, name) for name in (*known, *rest)]


def _day(rehearsal: Rehearsal, name: str) -> Markup:
    lines = [
        Line(policy, place, *thinned(outcome.series[name], rehearsal.minutes))
        for place, (policy, outcome) in enumerate(rehearsal.policies.items())
        if name in outcome.series
    ]
    title, kind = (SERIES | MORE_SERIES).get(name, (name.replace("_", " "), "count"))
    return _framed(title, day_chart(lines, title, SPELT[kind], kind))


def _spreads(rehearsal: Rehearsal, measure: str, setting: Setting) -> list[Markup]:
    names = dict.fromkeys(
        name.split(":", 1)[1]
        for outcome in rehearsal.policies.values()
        for name in outcome.histograms
        if name.startswith(f"{measure}:")
    )
    return [
        _framed(
            service,
            distribution_chart(lines, service, setting.promised.get(f"{measure}:{service}")),
        )
        for service in names
        if (measure == "ttft_ms" or f"{measure}:{service}" in setting.promised)
        and (lines := _cumulative(rehearsal, f"{measure}:{service}"))
    ]


def _cumulative(rehearsal: Rehearsal, name: str) -> list[Line]:
    lines = []
    for place, (policy, outcome) in enumerate(rehearsal.policies.items()):
        edges, counts = outcome.histograms.get(name, np.zeros((2, 0)))
        inside = np.isfinite(edges) & (edges > 0.0)
        if counts.sum() <= 0.0 or not inside.any():
            continue
        part = np.cumsum(counts) / counts.sum()
        lines.append(Line(policy, place, *_sparse(edges[inside], part[inside])))
    return lines


def _sparse(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The part of a distribution where something happens, in few points."""
    first = max(int(np.searchsorted(y, 1e-4)) - 1, 0)
    last = min(int(np.searchsorted(y, y[-1] - 1e-6)) + 1, len(y))
    kept = np.unique(np.linspace(first, last - 1, min(_POINTS, last - first)).round().astype(int))
    return x[kept], y[kept]


def _framed(title: str, drawing: Markup) -> Markup:
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(title, drawing)


def _map(rehearsal: Rehearsal, setting: Setting, words: dict[str, str]) -> dict[str, Any] | None:
    from aigrid.twin.report.regions import region_map

    return region_map(rehearsal, setting.region_labels, words)


def _money(rehearsal: Rehearsal, words: dict[str, str]) -> list[dict[str, Any]]:
    found = []
    for reading in ("whole_site", "marginal"):
        keys = dict.fromkeys(
            key
            for outcome in rehearsal.policies.values()
            for key in outcome.money
            if key.startswith(f"{reading}:")
        )
        lines = [
            {
                "name": MONEY.get(name, name.replace("_", " ")),
                "cells": [
                    _paid(name, outcome.money.get(key, math.nan))
                    for outcome in rehearsal.policies.values()
                ],
            }
            for key in keys
            for name in (key.split(":", 1)[1],)
        ]
        if lines:
            found.append({"title": words[reading], "lines": lines})
    return found


def _paid(name: str, value: float) -> str:
    if name.startswith("return"):
        return share(value)
    return ratio(value) if name.startswith("revenue_per") else usd(value)


def _inputs(setting: Setting) -> dict[str, list[Input]]:
    """By group, in the order in which they came."""
    groups: dict[str, list[Input]] = {}
    for row in setting.inputs:
        groups.setdefault(row.group, []).append(row)
    return groups


def _heat(setting: Setting) -> list[dict[str, Any]]:
    if setting.doubt is None:
        return []
    case = setting.doubt
    return [
        {
            "model": model,
            "cells": [
                {
                    "part": None if part is None else share(part),
                    "step": -1 if part is None else min(int(part * maps.STEPS), maps.STEPS - 1),
                    "gain": None if gain is None else f"{gain:+,.0f} ms".replace("-", "−"),
                }
                for part, gain in zip(parts, gains, strict=True)
            ],
        }
        for model, parts, gains in zip(case.models, case.part, case.gain_ms, strict=True)
    ]
