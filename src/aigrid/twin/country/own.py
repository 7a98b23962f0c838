"""Sites and radio load of one's own, from tables; formats: docs/SCENARIOS.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.control.neighbours import great_circle_km
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.problems import Problems
from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.country.tables import Column, Source, read_table
from aigrid.twin.models.shapes import MINUTES, RADIO_SHAPES
from aigrid.twin.models.slots import site_compute_for_radio

CURVES_LIMIT = 100
ROWS_LIMIT = 5_000_000
FAR_KM = 300.0
CELLS_LIMIT = 64
SITE_COLUMNS = (
    Column("name", "text"),
    Column("kind", "text"),
    Column("latitude_deg", "number", low=-90.0, high=90.0),
    Column("longitude_deg", "number", low=-180.0, high=180.0),
    Column("region", "text", required=False),
    Column("parent", "text", required=False),
    Column("device", "text", required=False),
    Column("devices", "number", required=False, low=0.0, high=1e6),
    Column("cells", "count", required=False, low=0.0, high=CELLS_LIMIT),
    Column("shape", "text", required=False),
    Column("peak_load", "number", required=False, low=0.0, high=1.0),
    Column("customers", "number", required=False, low=0.0, high=1e9),
)
LOAD_COLUMNS = (
    Column("time", "text"),
    Column("cell", "text"),
    Column("load", "number", low=0.0, high=1.0),
)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RadioCurve:
    """The daily shape of a cell's load.

    Attributes:
        by_minute: (1440,) part of the busiest minute's, largest 1.
        peak_load: of the busiest hour.
    """

    by_minute: Floats
    peak_load: float


def _rows(
    path: Path, columns: tuple[Column, ...], problems: Problems
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and values of each row of a table without errors; NaN and "" where there is none."""
    before = problems.count
    table = read_table(Source(path, rows_limit=ROWS_LIMIT), columns, problems)
    if table is None or problems.count > before:
        return
    nothing = np.full(table.rows, math.nan)
    for row in range(table.rows):
        values: dict[str, Any] = {}
        for column in columns:
            name = column.name
            if column.kind == "text":
                values[name] = table.text(name, row)
            else:
                values[name] = float(table.numbers.get(name, nothing)[row])
        yield table.line(row), values


def read_radio_load(path: Path, problems: Problems) -> dict[str, RadioCurve]:
    """Daily curves by cell: the mean of all days, by minute of the day, straight lines in between.

    Args:
        path: `time,cell,load`; times as ISO 8601 or minutes since midnight.
        problems: hears what is wrong.
    """
    seen: dict[str, tuple[list[float], list[float]]] = {}
    for line, row in _rows(path, LOAD_COLUMNS, problems):
        minute = _minute(row["time"])
        if minute is None:
            said = f"{row['time'][:40]!r}"
            problems.error(str(path), line, "time", said, "give 2026-11-24T08:30 or minutes")
            continue
        if row["cell"] not in seen and len(seen) >= CURVES_LIMIT:
            problems.error(
                str(path), line, "cell", f"over {CURVES_LIMIT} cells", "group alike cells"
            )
            break
        minutes, loads = seen.setdefault(row["cell"], ([], []))
        minutes.append(minute)
        loads.append(row["load"])
    return {cell: _curve(path, cell, *columns, problems) for cell, columns in seen.items()}


def _minute(text: str) -> float | None:
    if text.replace(".", "", 1).isdigit():
        return float(text) % MINUTES
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.hour * 60.0 + at.minute + at.second / 60.0


def _curve(
    path: Path, cell: str, minutes: list[float], loads: list[float], problems: Problems
) -> RadioCurve:
    at, value = np.asarray(minutes), np.asarray(loads)
    distinct, which = np.unique(np.floor(at), return_inverse=True)
    mean = np.bincount(which, value) / np.bincount(which)
    widest = float(np.max(np.diff(np.append(distinct, distinct[0] + MINUTES)), initial=0.0))
    if widest > 180.0:
        said = f"cell {cell!r} has no load for {widest / 60.0:.1f} h of the day"
        problems.warn(str(path), 0, "time", said, "give a whole day")
    curve = np.interp(np.arange(MINUTES), distinct, mean, period=MINUTES)
    hour = np.convolve(np.concatenate((curve, curve[:59])), np.full(60, 1.0 / 60.0), "valid")
    peak = float(hour.max())
    if peak < 0.05:
        said = f"cell {cell!r} is never over {peak:.1%}"
        problems.warn(str(path), 0, "load", said, "loads are parts of 1, not percent")
    top = max(float(curve.max()), 1e-9)
    return RadioCurve(curve / top, min(max(peak, 1e-6), 1.0))


def read_sites(
    path: Path,
    devices: tuple[str, ...],
    shapes: tuple[str, ...],
    curves: dict[str, RadioCurve],
    radio: RadioModel,
    problems: Problems,
) -> Network | None:
    """A network of one's own sites; None where something is wrong with it.

    Args:
        path: of the table.
        devices: names of the scenario's devices.
        shapes: names of its radio shapes, with those of `curves` behind; empty for any.
        curves: of own cells.
        radio: sizes towers that state no devices.
        problems: hears what is wrong.
    """
    before = problems.count
    rows: list[dict[str, Any]] = []
    names: dict[str, int] = {}
    for line, row in _rows(path, SITE_COLUMNS, problems):
        row["line"], row["region"] = line, row["region"] or "own"
        if row["name"] in names:
            said = f"{row['name']!r} stands in line {rows[names[row['name']]]['line']} already"
            problems.error(str(path), line, "name", said, "names are unique")
        _check_words(path, row, devices, shapes, problems)
        names[row["name"]] = len(rows)
        rows.append(row)
    if problems.count > before:
        return None
    kinds = [row["kind"] for row in rows]
    if "factory" not in kinds:
        problems.error(str(path), 0, "kind", "no factory", "give one: it is the last resort")
    if "tower" not in kinds:
        problems.error(str(path), 0, "kind", "no tower", "give one: customers stand under towers")
    elif not any(row["customers"] > 0.0 for row in rows):
        problems.error(str(path), 0, "customers", "nobody stands anywhere", "fill the column in")
    if problems.count > before:
        return None
    return _network(path, rows, devices, shapes, curves, radio, problems)


def _check_words(
    path: Path,
    row: dict[str, Any],
    devices: tuple[str, ...],
    shapes: tuple[str, ...],
    problems: Problems,
) -> None:
    for column, known in (("kind", SITE_KINDS), ("device", devices), ("shape", shapes)):
        if row[column] and known and row[column] not in known:
            said = f"{row[column]!r}"
            problems.error(str(path), row["line"], column, said, f"one of {', '.join(known)}")
    if row["kind"] != "tower" and row["customers"] > 0.0:
        said = f"a {row['kind']} has customers"
        problems.error(str(path), row["line"], "customers", said, "customers stand under towers")
    if row["kind"] != "tower" and row["cells"] > 0:
        problems.error(str(path), row["line"], "cells", f"a {row['kind']} has cells", "give 0")


def _network(
    path: Path,
    rows: list[dict[str, Any]],
    devices: tuple[str, ...],
    shapes: tuple[str, ...],
    curves: dict[str, RadioCurve],
    radio: RadioModel,
    problems: Problems,
) -> Network | None:
    rows.sort(key=lambda row: SITE_KINDS.index(row["kind"]))
    kind = np.array([SITE_KINDS.index(row["kind"]) for row in rows], np.int8)
    place = np.array([(row["latitude_deg"], row["longitude_deg"]) for row in rows])
    parent = _parents(path, rows, kind, place, problems)
    if parent is None:
        return None
    # Towers of one hub together: `Network` says so.
    order = np.lexsort((np.arange(len(rows)), np.where(kind == TOWER, parent, -1), kind))
    where = np.empty(len(rows), np.int64)
    where[order] = np.arange(len(rows))
    rows = [rows[i] for i in order]
    kind, place = kind[order], place[order]
    parent = np.where(parent[order] >= 0, where[parent[order]], -1)
    towers = kind == TOWER
    cells = np.array([_or(row["cells"], 3.0) for row in rows]) * towers
    default = np.where(kind == HUB, 2.0, 8.0)
    default[towers] = site_compute_for_radio(radio, cells[towers].astype(np.int16))
    stated = np.array([row["devices"] for row in rows])
    shape = np.array([shapes.index(row["shape"]) if row["shape"] in shapes else 0 for row in rows])
    peak = [_or(row["peak_load"], _peak(row["shape"], curves)) for row in rows]
    last = len(devices) - 1
    usual = {TOWER: 0, HUB: min(1, last), FACTORY: last}
    regions = tuple(dict.fromkeys(row["region"] for row in rows))
    return Network(
        names=np.array([row["name"] for row in rows]),
        kind=kind,
        region=np.array([regions.index(row["region"]) for row in rows], np.int16),
        latitude_deg=np.ascontiguousarray(place[:, 0]),
        longitude_deg=np.ascontiguousarray(place[:, 1]),
        parent=parent.astype(np.int32),
        device=np.array(
            [
                devices.index(row["device"]) if row["device"] else usual[int(k)]
                for row, k in zip(rows, kind, strict=True)
            ],
            np.int8,
        ),
        devices=np.where(np.isnan(stated), default, stated),
        cells=cells.astype(np.int16),
        shape=shape.astype(np.int8),
        peak_load=np.array(peak) * towers,
        customers=np.array([_or(row["customers"], 0.0) for row in rows]),
        regions=regions,
    )


def _or(value: float, other: float) -> float:
    return other if math.isnan(value) else value


def _peak(shape: str, curves: dict[str, RadioCurve]) -> float:
    return curves[shape].peak_load if shape in curves else 0.4


def _parents(
    path: Path,
    rows: list[dict[str, Any]],
    kind: NDArray[np.int8],
    place: Floats,
    problems: Problems,
) -> NDArray[np.int64] | None:
    """Rows of the sites above: as stated, else the nearest hub of a tower, factory of a hub."""
    by_name = {row["name"]: i for i, row in enumerate(rows)}
    has_hubs = bool((kind == HUB).any())
    parent, before = np.full(len(rows), -1), problems.count
    turned = np.radians(place)
    for i, row in enumerate(rows):
        if kind[i] == FACTORY:
            if row["parent"]:
                said = "a factory has none"
                problems.error(str(path), row["line"], "parent", said, "leave it empty")
            continue
        above = HUB if kind[i] == TOWER and has_hubs else FACTORY
        found = by_name.get(row["parent"], -1) if row["parent"] else -1
        if row["parent"] and (found < 0 or kind[found] != above):
            said = f"{row['parent']!r} is no {SITE_KINDS[above]} of this file"
            problems.error(str(path), row["line"], "parent", said, "name one, or leave it empty")
            continue
        if found < 0:
            could = np.flatnonzero(kind == above)
            away = great_circle_km(*turned[i], *turned[could].T)
            found = int(could[np.argmin(away)])
            if float(np.min(away)) > FAR_KM:
                said = f"the nearest {SITE_KINDS[above]} is {float(np.min(away)):.0f} km away"
                problems.warn(str(path), row["line"], "parent", said, "see its position")
        parent[i] = found
    return None if problems.count > before else parent


def known_shapes(named: tuple[str, ...], curves: dict[str, RadioCurve]) -> tuple[str, ...]:
    """Names that a site's shape may have: the scenario's, then those of own cells."""
    return (*named, *(cell for cell in curves if cell not in named and cell not in RADIO_SHAPES))
