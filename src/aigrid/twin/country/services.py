"""A service of a scenario: from its keys, and from a trace where it names one."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.document import Document, Place
from aigrid.twin.country.problems import instead, shown
from aigrid.twin.country.traces import Trace
from aigrid.twin.country.usage import (
    SLACK_S,
    day_shape,
    lengths_of,
    requests_per_day,
    shared_tokens,
    told,
    whole_days,
)
from aigrid.twin.models.lengths import BY_NAME, fixed
from aigrid.twin.models.service import Service, TokenLengths
from aigrid.twin.models.shapes import DEMAND_SHAPES, RADIO_SHAPES

_LENGTHS = ("prompt_tokens", "generated_tokens")
_LISTS = ("regions", "kinds")
_TEXTS = ("name", "shape")
HOUR_S = 3600.0
# Fewer requests say little about their lengths.
FEW_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Made:
    """A service, and the shape of its day.

    Attributes:
        service: as read.
        curve: (1440,) requests of each minute over a mean one's; None: that of `service.shape`.
        from_trace: keys that a trace has given.
    """

    service: Service
    curve: NDArray[np.float64] | None
    from_trace: tuple[str, ...]


def service_of(
    document: Document,
    raw: Any,
    place: Place,
    trace: Trace | None,
    starts_s: float,
    customers: float,
) -> Made | None:
    """A service; None where something is wrong with it.

    A key of the scenario goes before what the trace says.

    Args:
        document: that it stands in.
        raw: its values there.
        place: of it.
        trace: of its requests.
        starts_s: time of day of the trace's first request; NaN where nobody says.
        customers: of the country; NaN where they are not known.
    """
    before = document.problems.count
    from_trace, curve = _from_trace(document, raw, place, trace, starts_s, customers)
    required = {f.name for f in fields(Service) if f.default is MISSING} - set(from_trace)
    optional = {f.name for f in fields(Service)} - required
    if not document.keys(raw, place, required, optional | {"trace"}):
        return None
    values: dict[str, Any] = dict(from_trace)
    for key in (k for k in raw if k in required | optional):
        values[key] = _value(document, key, raw[key], (*place, key))
    if document.problems.count > before:
        return None
    if "shape" in raw:
        curve = None
    return Made(Service(**values), curve, tuple(key for key in from_trace if key not in raw))


def _value(document: Document, key: str, raw: Any, place: Place) -> Any:
    if key in _LENGTHS:
        return _lengths(document, raw, place)
    if key in _LISTS:
        texts = document.texts(raw, place) if raw else ()
        for at, text in enumerate(texts):
            if key == "kinds" and text not in SITE_KINDS:
                step = instead(text, SITE_KINDS)
                document.error((*place, at), f"unknown kind {shown(text)}", step)
        return texts
    if key == "shape":
        known = (*DEMAND_SHAPES, *RADIO_SHAPES)
        if raw not in known:
            document.error(place, f"unknown shape {shown(raw)}", instead(str(raw), known))
        return str(raw)
    if key in _TEXTS:
        return document.text(raw, place)
    return document.number(raw, place)


def _lengths(document: Document, raw: Any, place: Place) -> TokenLengths:
    """Quantiles, the name of a table, or one number for every request."""
    if isinstance(raw, str):
        if raw not in BY_NAME:
            step = f"{instead(raw, BY_NAME)}; or give a number, quantiles, or a `trace`"
            document.error(place, f"unknown lengths {shown(raw)}", step)
            return fixed(1.0)
        return BY_NAME[raw]
    if not isinstance(raw, list):
        return fixed(document.number(raw, place))
    counts = tuple(document.number(item, (*place, at)) for at, item in enumerate(raw))
    if len(counts) < 2 or list(counts) != sorted(counts):
        document.error(place, "quantiles must rise", "give 2 or more, the smallest first")
        return fixed(1.0)
    return TokenLengths(counts)


def _from_trace(
    document: Document,
    raw: Any,
    place: Place,
    trace: Trace | None,
    starts_s: float,
    customers: float,
) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    """Values that a trace gives, and the shape of the day."""
    if trace is None or not isinstance(raw, dict):
        return {}, None
    for what, step in odd_about(trace):
        document.warn((*place, "trace"), what, step)
    found: dict[str, Any] = {
        "prompt_tokens": lengths_of(trace.prompt_tokens),
        "generated_tokens": lengths_of(trace.output_tokens),
    }
    if trace.block_tokens:
        found["shared_prefix_tokens"] = float(shared_tokens(trace).mean())
    curve, days = None, whole_days(trace)
    if days:
        if math.isnan(starts_s) and "shape" not in raw:
            step = "give `trace: {file: ..., starts: '09:30'}`"
            what = "its times do not say at what time of day it starts; midnight is taken"
            document.warn((*place, "trace"), what, step)
        curve = day_shape(trace, 0.0 if math.isnan(starts_s) else starts_s)
        found["shape"] = "steady"
        if customers > 0.0:
            found["requests_per_customer_day"] = requests_per_day(trace) / customers
    document.problems.facts.append(told(trace))
    return found, curve


def odd_about(trace: Trace) -> list[tuple[str, str]]:
    """What looks odd in a trace, and what to do about it."""
    found = []
    if trace.span_s < HOUR_S - SLACK_S / 10.0:
        what = f"{trace.origin} is {trace.span_s / 60.0:.0f} minutes long"
        found.append((what, "an hour shows lengths, a day the shape of the day too"))
    if len(trace) < FEW_REQUESTS:
        what = f"{trace.origin} has {len(trace)} requests"
        found.append((what, f"give {FEW_REQUESTS} or more: few say little about lengths"))
    return found
