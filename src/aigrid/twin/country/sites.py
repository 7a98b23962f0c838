"""Sites of one's own, from a table, as a network; formats: docs/SCENARIOS.md."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import FACTORY, HUB, TOWER, Network
from aigrid.twin.country.parents import parents_of
from aigrid.twin.country.problems import Problems, instead, shown
from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.country.tables import Column, Source, Table, Texts, each, read_table, warn_each
from aigrid.twin.models.devices import RADIO_ONLY, SHEET
from aigrid.twin.models.slots import site_compute_for_radio

ROWS_LIMIT, BYTES_LIMIT = 2_000_000, 1024**3
CELLS_LIMIT, DEVICES_LIMIT = 64, 120
OWN_REGION = "own"
COLUMNS = (
    Column("name", "text"),
    Column("kind", "text"),
    Column("latitude_deg", "number", low=-90.0, high=90.0),
    Column("longitude_deg", "number", low=-180.0, high=180.0),
    Column("region", "text", required=False),
    Column("parent", "text", required=False),
    Column("device", "text", required=False),
    Column("devices", "number", required=False, low=0.0, high=1e6),
    Column("cells", "count", required=False, low=0.0, high=CELLS_LIMIT),
    Column("cell_names", "text", required=False),
    Column("shape", "text", required=False),
    Column("peak_load", "number", required=False, low=0.0, high=1.0),
    Column("customers", "number", required=False, low=0.0, high=1e9),
)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Usual:
    """What sites have whose row does not say; keys of `sites` in a scenario.

    Attributes:
        customers: of all towers together, by their cells; 0 where the table says it.
        cells: of a tower.
        hub_devices: of a hub.
        factory_devices: of a factory.
        peak_load: of a tower's cells in the busiest hour.
        shape: of a tower's load; the first of `radio_shapes` where empty.
        region: of a site.
    """

    customers: float = 0.0
    cells: float = 3.0
    hub_devices: float = 2.0
    factory_devices: float = 8.0
    peak_load: float = 0.4
    shape: str = ""
    region: str = OWN_REGION


@dataclass(frozen=True, slots=True)
class Setting:
    """What sites are read for.

    Attributes:
        devices: names of the scenario's devices: for towers, hubs, factories, and further ones.
        shapes: names of radio loads that a site may name; empty for any.
        radio: sizes towers that state no devices.
        usual: see there.
        alone: whether the table is looked at without its scenario, which may say more.
    """

    devices: tuple[str, ...]
    shapes: tuple[str, ...]
    radio: RadioModel
    usual: Usual = Usual()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Sites:
    """A network of one's own, and what goes with it.

    Attributes:
        network: sites.
        devices: names that `network.device` points into: the scenario's, then those that rows name.
        cell_site: name of a cell to row of its site.
        shape_names: (N,) as stated, "" for none: what the network's `shape` stands for.
        line: (N,) of each site in its file.
        origin: the file.
        states_peak: (N,) whether the row states a peak load.
    """

    network: Network
    devices: tuple[str, ...]
    cell_site: dict[str, int]
    shape_names: tuple[str, ...]
    line: Ints
    origin: str
    states_peak: NDArray[np.bool_]


@dataclass(slots=True)
class _Rows:
    """Columns in the order of the file."""

    table: Table
    problems: Problems
    kind: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def error(self, rows: NDArray[np.integer], column: str, what: str, step: str) -> None:
        each(self.table, rows, column, what, step, self.problems)

    def number(self, name: str) -> Floats:
        found = self.table.numbers.get(name)
        return np.full(self.table.rows, np.nan) if found is None else found

    def text(self, name: str) -> Texts:
        found = self.table.texts.get(name)
        return Texts(np.zeros(self.table.rows, np.int32), ("",)) if found is None else found


def read_sites(source: Source, setting: Setting, problems: Problems) -> Sites | None:
    """A network of one's own sites; None where something is wrong with it.

    Args:
        source: of the table.
        setting: of the scenario.
        problems: hears what is wrong.
    """
    source = replace(source, rows_limit=ROWS_LIMIT, bytes_limit=BYTES_LIMIT)
    before = problems.count
    table = read_table(source, COLUMNS, problems)
    if table is None or not table.rows or not {"name", "kind"} <= set(table.texts):
        return None
    rows = _Rows(table, problems)
    _check_names(rows)
    rows.kind = _known(rows, "kind", SITE_KINDS)
    devices, device = _devices(rows, setting)
    shapes = _known(rows, "shape", setting.shapes) if setting.shapes else None
    customers = _customers(rows, setting)
    _check_kinds(rows, setting.radio)
    cell_site = _cell_names(rows)
    place = np.stack((rows.number("latitude_deg"), rows.number("longitude_deg")), axis=1)
    parent = parents_of(table, rows.kind, rows.text("parent"), place, problems)
    if problems.count > before or parent is None:
        return None
    return _ordered(rows, setting, devices, device, shapes, customers, parent, cell_site)


def _check_names(rows: _Rows) -> None:
    names = rows.text("name")
    order = np.argsort(names.code, kind="stable")
    again = np.sort(order[1:][names.code[order][1:] == names.code[order][:-1]])
    again = again[names.code[again] != _code(names, "")]
    for row in again[: rows.problems.limit]:
        first = int(np.flatnonzero(names.code == names.code[row])[0])
        name = rows.table.text("name", int(row))
        what = f"{shown(name)} stands in line {rows.table.line(first)} already"
        rows.error(np.array([row]), "name", what, "give each site a name of its own")
    rows.problems.more_errors += max(len(again) - rows.problems.limit, 0)


def _known(rows: _Rows, name: str, known: tuple[str, ...]) -> Ints:
    """(rows,) place of each text among the known ones; -1 where there is none."""
    texts = rows.text(name)
    place = np.full(len(texts.values), -1, np.int64)
    for code, value in enumerate(texts.values):
        if value in known:
            place[code] = known.index(value)
        elif value:
            here = np.flatnonzero(texts.code == code)
            rows.error(here, name, f"unknown {name} {shown(value)}", instead(value, known))
    found: Ints = place[texts.code]
    return found


def _devices(rows: _Rows, setting: Setting) -> tuple[tuple[str, ...], Ints]:
    """Names of all devices, and each site's: as stated, else the usual one of its kind."""
    stated = [name for name in rows.text("device").values if name]
    more = tuple(n for n in stated if n in (*SHEET, RADIO_ONLY) and n not in setting.devices)
    devices = (*setting.devices, *more)
    if len(devices) > DEVICES_LIMIT:
        what = f"{len(devices)} different devices, {DEVICES_LIMIT} at most"
        rows.error(np.array([0]), "device", what, "use fewer")
    known = (*devices, *SHEET, RADIO_ONLY)
    place = _known(rows, "device", known)
    last = len(setting.devices) - 1
    usual = np.zeros(len(SITE_KINDS), np.int64)
    usual[HUB], usual[FACTORY] = min(1, last), min(2, last)
    return devices, np.where(place >= 0, place, usual[np.maximum(rows.kind, 0)])


def _customers(rows: _Rows, setting: Setting) -> Floats:
    """As stated, or the scenario's total by cells."""
    towers, total = rows.kind == TOWER, setting.usual.customers
    stated = "customers" in rows.table.numbers
    if stated:
        customers = np.nan_to_num(rows.number("customers"))
        wrong = np.flatnonzero(~towers & (customers > 0.0) & (rows.kind >= 0))
        rows.error(wrong, "customers", "only towers have customers", "leave it empty here")
        if total > 0.0:
            what = "customers are in the table and in the scenario"
            rows.error(np.array([0]), "customers", what, "leave one of the two out")
    else:
        cells = np.where(towers, _or(rows.number("cells"), setting.usual.cells), 0.0)
        customers = total * cells / max(float(cells.sum()), 1e-9)
    if towers.any() and not customers[towers].sum() > 0.0 and (stated or not setting.alone):
        step = "fill the column in, or give `customers` of all towers in the scenario's `sites`"
        rows.problems.error(rows.table.origin, 0, "customers", "nobody stands anywhere", step)
    return customers


def _check_kinds(rows: _Rows, radio: RadioModel) -> None:
    for kind, why in (("factory", "it is the last resort"), ("tower", "customers stand there")):
        if not np.any(rows.kind == SITE_KINDS.index(kind)) and np.all(rows.kind >= 0):
            step = f"add one: {why}"
            rows.problems.error(rows.table.origin, 0, "kind", f"there is no {kind}", step)
    cells, devices = rows.number("cells"), rows.number("devices")
    wrong = np.flatnonzero((rows.kind != TOWER) & (cells > 0.0) & (rows.kind >= 0))
    rows.error(wrong, "cells", "only towers have cells", "leave it empty here")
    need = site_compute_for_radio(replace(radio, headroom=0.0), np.nan_to_num(cells).astype(int))
    small = np.flatnonzero((rows.kind == TOWER) & (devices < need))

    def what(row: int) -> str:
        return f"{devices[row]:g} devices; {cells[row]:g} full cells need {need[row]:.2f}"

    step = "its radio will miss slots; give it more"
    warn_each(rows.table, small, "devices", what, step, rows.problems)
    place = np.stack((rows.number("latitude_deg"), rows.number("longitude_deg")))
    at_zero = np.flatnonzero((place == 0.0).all(axis=0))
    where, step = "latitude_deg", "give its position"
    warn_each(rows.table, at_zero, where, lambda _: "stands at 0, 0", step, rows.problems)


def _cell_names(rows: _Rows) -> dict[str, int]:
    """Cells by name; where a row names some and no number of them, that is their number."""
    texts, found = rows.text("cell_names"), dict[str, int]()
    if texts.values == ("",):
        return found
    cells = rows.number("cells").copy()
    for row in np.flatnonzero(texts.code != _code(texts, "")):
        names = [name.strip() for name in texts.values[texts.code[row]].split() if name.strip()]
        for name in names:
            if name in found:
                first = rows.table.line(found[name])
                what = f"cell {shown(name)} is one of line {first} already"
                rows.error(np.array([row]), "cell_names", what, "name each cell once")
            found[name] = int(row)
        if np.isnan(cells[row]):
            cells[row] = len(names)
        elif cells[row] != len(names):
            what = f"{len(names)} names for {cells[row]:g} cells"
            rows.error(np.array([row]), "cell_names", what, "name all, or leave `cells` empty")
    rows.table.numbers["cells"] = cells
    return found


def _code(texts: Texts, value: str) -> int:
    return texts.values.index(value) if value in texts.values else -1


def _or(values: Floats, other: float | Floats) -> Floats:
    return np.where(np.isnan(values), other, values)


def _ordered(
    rows: _Rows,
    setting: Setting,
    devices: tuple[str, ...],
    device: Ints,
    shapes: Ints | None,
    customers: Floats,
    parent: Ints,
    cell_site: dict[str, int],
) -> Sites:
    """Columns in the order that `Network` promises: by kind, towers of one hub together."""
    kind, count = rows.kind, len(rows.kind)
    above = np.where(kind == TOWER, parent, -1)
    order = np.lexsort((np.arange(count), above, kind))
    where = np.empty(count, np.int64)
    where[order] = np.arange(count)
    kind, usual = kind[order], setting.usual
    towers = kind == TOWER
    cells = _or(rows.number("cells"), usual.cells)[order] * towers
    computers = np.where(kind == HUB, usual.hub_devices, usual.factory_devices).astype(np.float64)
    computers[towers] = site_compute_for_radio(setting.radio, cells[towers].astype(np.int64))
    regions = rows.text("region")
    names = tuple(value or usual.region for value in regions.values)
    different = tuple(dict.fromkeys(names))
    region = np.array([different.index(name) for name in names])[regions.code[order]]
    first = setting.shapes.index(usual.shape) if usual.shape in setting.shapes else 0
    shape = np.full(count, first) if shapes is None else np.where(shapes >= 0, shapes, first)[order]
    stated = rows.number("peak_load")[order]
    all_names, all_shapes = rows.text("name"), rows.text("shape")
    network = Network(
        names=np.array(all_names.values)[all_names.code[order]],
        kind=kind.astype(np.int8),
        region=region.astype(np.int16),
        latitude_deg=np.ascontiguousarray(rows.number("latitude_deg")[order]),
        longitude_deg=np.ascontiguousarray(rows.number("longitude_deg")[order]),
        parent=np.where(parent[order] >= 0, where[parent[order]], -1).astype(np.int32),
        device=device[order].astype(np.int8),
        devices=_or(rows.number("devices")[order], computers),
        cells=cells.astype(np.int16),
        shape=np.where(towers, shape, 0).astype(np.int8),
        peak_load=_or(stated, usual.peak_load) * towers,
        customers=customers[order],
        regions=different,
    )
    return Sites(
        network=network,
        devices=devices,
        cell_site={name: int(where[row]) for name, row in cell_site.items()},
        shape_names=tuple(all_shapes.values[code] for code in all_shapes.code[order]),
        line=np.array([rows.table.line(int(row)) for row in order]),
        origin=rows.table.origin,
        states_peak=~np.isnan(stated) & towers,
    )
